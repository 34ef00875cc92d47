"""The kill beside the script that a user would write with httpx, in one run at 50 ms, as ratios.

Run it as `python benchmarks/kill.py [ROUNDS]`. Both start as whole processes against one paper exchange behind a line
that holds every byte back for 25 ms each way, with the same 100 orders and 3 positions. The script signs in, cancels,
closes and reads once that nothing is left; it proves nothing more, latches nothing and holds nothing. `first cancel` is
when the mass cancel leaves, `flat` when each believes that it is flat: kill wants reads a second apart for that.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.drills.delaying import delayed
from tests.drills.killing import BTC, ETH, SOL, Desk, running_exchange

ORDERS = 100
PROCESSOR = "processor"
PLAIN = """
import json, sys, time
began = time.monotonic() - (time.time() - float(sys.argv[3]))
import httpx
from perpctl.emergency.venue.signing import make_token, read_key
from pathlib import Path
client = httpx.Client(base_url=sys.argv[1])
def call(method, **params):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return client.post("/" + method, json=body).raise_for_status().json()["result"]
token = make_token(read_key(Path(sys.argv[2])), time.time())
access = call("public/auth", grant_type="coinbase_cdp", token=token)["access_token"]
client.headers["Authorization"] = f"Bearer {access}"
first = time.monotonic() - began
call("private/cancel_all_by_currency", currency="USDC", kind="future", include_isolated=True)
for held in call("private/get_positions", currency="any", include_isolated=True):
    if held["size"]:
        call("private/close_position", instrument_name=held["instrument_name"], type="market")
assert not call("private/get_open_orders", include_isolated=True)
assert not [one for one in call("private/get_positions", currency="any", include_isolated=True) if one["size"]]
print(json.dumps({"first cancel": first, "flat": time.monotonic() - began}))
"""


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place, running_exchange(Path(place) / "exchange") as exchange:
        desk = Desk(Path(place) / "state", Path(place) / "config", exchange)
        port = urlsplit(exchange.server["gateway_http"]).port
        assert port is not None
        with delayed(port) as far:
            http = f"http://127.0.0.1:{far}/api/v2"
            desk.validate(endpoints={"http": http}, endpoints_file=None)
            taken = measured(desk, http, rounds)
    medians = {who: {what: statistics.median(times) for what, times in rows.items()} for who, rows in taken.items()}
    plain, ours = taken["httpx script"], taken["kill"]
    report = {
        "rounds": rounds,
        "load": [round(one, 1) for one in os.getloadavg()],
        "ms": {
            who: {what: round(seconds * 1000) for what, seconds in row.items() if what != PROCESSOR}
            for who, row in medians.items()
        },
        "ms of processor time": {who: round(row[PROCESSOR] * 1000) for who, row in medians.items()},
        "x httpx script": {what: spread(ours[what], plain[what]) for what in plain},
        "all closed, x httpx script's flat": spread(ours["all closed"], plain["flat"]),
    }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


def spread(ours: list[float], plain: list[float]) -> dict[str, float]:
    """The ratio of each round, whose two runs met the same machine: the middle one, and the middle half."""
    ratios = sorted(one / other for one, other in zip(ours, plain, strict=True))
    low, middle, high = (ratios[len(ratios) * quarter // 4] for quarter in (1, 2, 3))
    return {"median": round(middle, 2), "from": round(low, 2), "to": round(high, 2)}


def measured(desk: Desk, http: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """One of each in turn, every other round the other way round; the first round is not counted."""
    taken: dict[str, dict[str, list[float]]] = {"httpx script": {}, "kill": {}}
    runs = [("httpx script", plainly), ("kill", killed)]
    for number in range(rounds + 1):
        for who, run in runs if number % 2 else runs[::-1]:
            fill_account(desk)
            before = children_s()
            found = run(desk, http)
            found[PROCESSOR] = children_s() - before
            assert desk.exchange.is_flat, who
            if number == 0:
                continue
            for what, seconds in found.items():
                taken[who].setdefault(what, []).append(seconds)
    return taken


def children_s() -> float:
    """Processor time of every process that was started here and has ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def fill_account(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.market("sell", ETH, "1")
    trader.market("buy", SOL, "10")
    for _ in range(ORDERS):
        trader.bid_below(BTC, "0.001")


def plainly(desk: Desk, http: str) -> dict[str, float]:
    command = [sys.executable, "-c", PLAIN, http, desk.exchange.server["key_file"], str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {str(what): float(seconds) for what, seconds in json.loads(done.stdout).items()}


def killed(desk: Desk, http: str) -> dict[str, float]:
    """From the start of its process, as the record tells it: what came before Enter's clock is added."""
    command = [sys.executable, "-m", "perpctl", "kill", "--force", "-p", "paper", "-o", "json"]
    began_ms = time.time_ns() // 1_000_000
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=desk.environment)
    receipt = json.loads(done.stdout)
    path = desk.directory / "kills" / f"{receipt['kill_id']}.jsonl"
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]

    def after(found: dict[str, Any]) -> float:
        return (int(found["at_ms"]) - began_ms) / 1000

    steps = {line["step"]: line for line in lines if line["event"] == "step" and line["state"] == "done"}
    first = next(line for line in lines if line["event"] == "first_cancel")
    return {"first cancel": after(first), "all closed": after(steps["close"]), "flat": after(steps["prove"])}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
