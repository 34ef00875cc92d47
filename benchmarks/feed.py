"""Feed messages from bytes to a book with its sequence checked, beside ccxt.pro and cryptofeed in environments of
their own.

Run it as `python benchmarks/feed.py [MESSAGES]`. All messages are made up here in the gateway's shape (a snapshot of
800 levels, then changes), which is Deribit's: both peers read them with their Deribit classes, as they are. Processor
time per message, the median of rounds in which everybody has a turn; all must end with the same best prices. ccxt
checks no sequence on this venue.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import peers

from perpctl.exchange.both.document import decode
from perpctl.exchange.gateway.feed.channels import told
from perpctl.exchange.gateway.feed.depth import Depth

INSTRUMENT = "BTC_USDC-PERPETUAL"
LEVELS, ROUNDS = 400, 9
PROGRAMS = {"ccxt.pro": (peers.CCXT, "ccxt_feed.py"), "cryptofeed": (peers.CRYPTOFEED, "cryptofeed_feed.py")}
GOALS = {"ccxt.pro": 0.25, "cryptofeed": 0.8}


def messages(count: int) -> list[bytes]:
    """A snapshot and its changes: mostly amounts near the touch, sometimes a level that comes or goes."""
    chance, change_id, mid = random.Random(1), 1_000, 840_000
    sides = {
        "bids": {mid - 1 - n: chance.randint(1, 9_999) for n in range(LEVELS)},
        "asks": {mid + 1 + n: chance.randint(1, 9_999) for n in range(LEVELS)},
    }
    rows = {side: [["new", price / 10, amount / 1e4] for price, amount in held.items()] for side, held in sides.items()}
    made = [_message({"type": "snapshot", "change_id": change_id, **rows})]
    for _ in range(count):
        rows = {"bids": [], "asks": []}
        for side in chance.choice((["bids"], ["asks"], ["bids", "asks"])):
            price = mid + (-1 if side == "bids" else 1) * (1 + min(int(chance.expovariate(0.05)), LEVELS - 1))
            held = sides[side]
            if price not in held:
                action, held[price] = "new", chance.randint(1, 9_999)
            elif chance.random() < 0.2:
                action, held[price] = "delete", 0
            else:
                action, held[price] = "change", chance.randint(1, 9_999)
            rows[side].append([action, price / 10, held[price] / 1e4])
            if action == "delete":
                del held[price]
        made.append(_message({"type": "change", "prev_change_id": change_id, "change_id": change_id + 1, **rows}))
        change_id += 1
    return made


def _message(data: dict[str, object]) -> bytes:
    data = {"timestamp": 1_795_424_400_000 + int(str(data["change_id"])), "instrument_name": INSTRUMENT, **data}
    params = {"channel": f"book.{INSTRUMENT}.100ms", "data": data}
    return json.dumps({"jsonrpc": "2.0", "method": "subscription", "params": params}, separators=(",", ":")).encode()


def ours(frames: list[bytes]) -> dict[str, float]:
    """The client's own way: decode, find the channel, check the sequence, change the book."""
    depth = Depth(levels=1)
    began = time.thread_time()
    for frame in frames:
        depth.apply(told(decode(frame))[1])
    taken = time.thread_time() - began
    book = depth.book(0.0)
    return {"us": taken / len(frames) * 1e6, "bid": float(book.bids[0][0]), "ask": float(book.asks[0][0])}


def theirs(python: Path, program: str, file: Path) -> dict[str, float]:
    command = [str(python), str(Path(__file__).parent / "programs" / program), str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


def main(count: int) -> None:
    frames = messages(count)
    there = {name: (peers.python(requirement), program) for name, (requirement, program) in PROGRAMS.items()}
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "messages.jsonl"
        file.write_bytes(b"\n".join(frames))
        for _ in range(ROUNDS):
            found = {"perpctl": ours(frames)}
            found |= {name: theirs(python, program, file) for name, (python, program) in there.items() if python}
            touches = {(one["bid"], one["ask"]) for one in found.values()}
            assert len(touches) == 1, f"the books differ: {found}"
            for name, one in found.items():
                taken.setdefault(name, []).append(one["us"])
    ratios = {
        f"perpctl / {name}": {
            "measured": round(statistics.median(a / b for a, b in zip(taken["perpctl"], taken[name], strict=True)), 3),
            "goal": goal,
        }
        for name, goal in GOALS.items()
        if name in taken
    }
    shown = {name: round(statistics.median(values), 2) for name, values in taken.items()}
    print(json.dumps({"messages": count, "load": os.getloadavg()[0], "us_a_message": shown, **ratios}, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
