"""Taking messages in over TLS: processor time a message, and from sent to decoded, beside Coinbase's SDK and json.

Run it as `python benchmarks/ingest.py [MESSAGES]`. A server of its own process sends messages in the shape of Advanced
Trade (85 of 100 changes of a book, 12 tickers, 3 of the user): first all at once, which is where processor time is
taken, then 1,000 a second, each saying when it left. Each client is a process of its own, in turn. The client here
makes every fraction an exact Decimal; json makes them floats.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import peers

from perpctl.paper import certificate

PROGRAMS = Path(__file__).parent / "programs"
ROUNDS, PACED, A_SECOND = 5, 3_000, 1_000


def messages(count: int) -> list[bytes]:
    chance = random.Random(1)
    kinds = chance.choices((book, ticker, user), (85, 12, 3), k=count)
    return [json.dumps(kind(chance, number), separators=(",", ":")).encode() for number, kind in enumerate(kinds)]


def _frame(channel: str, number: int, events: list[dict[str, object]]) -> dict[str, object]:
    """`client_id` is empty on the wire; here it is the room for when a message left."""
    at = f"2026-11-25T14:{number // 60 % 60:02d}:{number % 60:02d}.123456789Z"
    return {"channel": channel, "client_id": "0" * 20, "timestamp": at, "sequence_num": number, "events": events}


def _price(chance: random.Random) -> str:
    return f"{84_000 + chance.randint(-5_000, 5_000) / 10:.1f}"


def book(chance: random.Random, number: int) -> dict[str, object]:
    updates = [
        {
            "side": chance.choice(("bid", "offer")),
            "event_time": "2026-11-25T14:00:00.123456Z",
            "price_level": _price(chance),
            "new_quantity": str(chance.randint(0, 300)),
        }
        for _ in range(chance.choice((1, 2, 3, 4, 6)))
    ]
    return _frame("l2_data", number, [{"type": "update", "product_id": "BIP-20DEC30-CDE", "updates": updates}])


def ticker(chance: random.Random, number: int) -> dict[str, object]:
    row = {
        "type": "ticker",
        "product_id": "BIP-20DEC30-CDE",
        **{name: _price(chance) for name in ("price", "low_24_h", "high_24_h", "low_52_w", "high_52_w")},
        "volume_24_h": str(chance.randint(1, 10**6)),
        "price_percent_chg_24_h": "-1.29846151",
        **{name: _price(chance) for name in ("best_bid", "best_ask")},
        **{name: str(chance.randint(1, 400)) for name in ("best_bid_quantity", "best_ask_quantity")},
    }
    return _frame("ticker", number, [{"type": "update", "tickers": [row]}])


def user(chance: random.Random, number: int) -> dict[str, object]:
    words = ("avg_price", "total_fees", "filled_value", "limit_price", "stop_price", "outstanding_hold_amount")
    row = {
        "order_id": f"{number:08d}-0000-4000-8000-000000000000",
        "client_order_id": f"00010000-0000-8000-0000-{number:012x}",
        "product_id": "BIP-20DEC30-CDE",
        "order_side": "BUY",
        "order_type": "Limit",
        "status": "OPEN",
        "time_in_force": "GOOD_UNTIL_CANCELLED",
        "cumulative_quantity": "1",
        "leaves_quantity": "4",
        "creation_time": "2026-11-25T14:00:00.123456Z",
        **{name: _price(chance) for name in words},
    }
    return _frame("user", number, [{"type": "update", "orders": [row]}])


def taken_in(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    late = sorted(found["late_ns"])
    return {
        "count": found["count"],
        "us of processor time": found["us"],
        "p50 us sent to decoded": late[len(late) // 2] / 1e3,
        "p99 us sent to decoded": late[len(late) * 99 // 100] / 1e3,
    }


def measured(place: Path, count: int, clients: dict[str, list[str]]) -> dict[str, list[dict[str, float]]]:
    """Every client in turn, each on a fresh connection to the one server."""
    ca_file, leaf, key = certificate.ensure(place, datetime.now(UTC))
    (place / "messages").write_bytes(b"\n".join(messages(count)))
    options = [str(leaf), str(key), str(place / "messages"), str(PACED), str(A_SECOND)]
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in clients}
    command = [sys.executable, str(PROGRAMS / "tls_feed.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = f"wss://127.0.0.1:{int(server.stdout.readline())}"
            for _ in range(ROUNDS):
                for name, program in clients.items():
                    found = taken_in([*program, url, str(ca_file)])
                    assert found["count"] == count, f"{name} took in {found['count']}"
                    taken[name].append(found)
        finally:
            server.kill()
    return taken


def main(count: int) -> None:
    clients = {"perpctl": [sys.executable, str(PROGRAMS / "perpctl_ingest.py")]}
    if sdk := peers.python(peers.OLD_SDK):
        clients["sdk"] = [str(sdk), str(PROGRAMS / "sdk_ingest.py")]
    with tempfile.TemporaryDirectory() as place:
        taken = measured(Path(place), count, clients)
    whats = [what for what in taken["perpctl"][0] if what != "count"]
    medians = {
        name: {what: statistics.median(one[what] for one in rows) for what in whats} for name, rows in taken.items()
    }
    report: dict[str, object] = {"messages": count, "load": os.getloadavg()[0], "medians": medians}
    if "sdk" in taken:
        for what, goal in (
            ("us of processor time", 0.7),
            ("p50 us sent to decoded", None),
            ("p99 us sent to decoded", 1.0),
        ):
            ratios = [one[what] / other[what] for one, other in zip(taken["perpctl"], taken["sdk"], strict=True)]
            report[f"{what}, x sdk"] = {
                "measured": round(statistics.median(ratios), 3),
                "from": round(min(ratios), 3),
                "to": round(max(ratios), 3),
                **({} if goal is None else {"goal": goal}),
            }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
