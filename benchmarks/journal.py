"""The journal against the disk: durable appends beside append + fdatasync of the same bytes, in one run, as ratios.

Run it as `python benchmarks/journal.py [DIRECTORY]`; the directory decides which disk is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from perpctl.clock import SystemClock
from perpctl.model.order import OrderRequest, OrderType, Side
from perpctl.store.intents import Grounds, Intents, Maker
from perpctl.store.journal import Journal
from perpctl.store.projections import Projections
from perpctl.store.records import Kind, Record, Writer

ROUNDS = 1000
GROUP, GROUP_EVERY = 100, 25

WRITER = Writer("trend-2", "run", "bench", os.getpid(), "0.1.0", "paper", "global", "paper")
EVENT = {"channel": "user", "host": "127.0.0.1", "code": None, "messages": 412, "gap": 0, "text": "x" * 60}
REQUEST = OrderRequest("", "BTC_USDC-PERPETUAL", Side.BUY, Decimal("0.01"), OrderType.LIMIT, Decimal("84000.5"))
CONTROLS = [
    {"number": n, "name": "price collar", "value": "0.12", "limit": "0.5", "unit": "%", "verdict": "pass"}
    for n in range(1, 20)
]
GROUNDS = Grounds(Maker("trend", "1"), Maker("trend", "1"), "2026-11-23", 1, {"mark": {"price": Decimal("84000.5")}})


class Plain:
    """What a program without a database would do: append the bytes, sync, go on."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append(self, record: Record, times: int = 1) -> None:
        for _ in range(times):
            os.write(self._descriptor, record.canonical + record.hash.hex().encode() + b"\n")
        os.fdatasync(self._descriptor)


def timed(act: Callable[[], object]) -> tuple[float, float]:
    """Microseconds of a call, and of its processor time."""
    began, processor = time.perf_counter(), time.thread_time()
    act()
    return (time.perf_counter() - began) * 1e6, (time.thread_time() - processor) * 1e6


def grouped(journal: Journal) -> None:
    with journal.batch():
        for _ in range(GROUP):
            journal.append(Kind.OPERATOR_NOTED, EVENT)


def measure(directory: Path) -> dict[str, list[tuple[float, float]]]:
    """One of each in turn, so that a disk or machine that slows down slows everything down alike."""
    journal = Journal.open(directory / "journal.db", WRITER, SystemClock())
    intents = Intents(Projections(journal))
    plain, numbers = Plain(directory / "plain.jsonl"), iter(range(10**9))

    def intend() -> Record:
        request = replace(REQUEST, identity=f"intent-{next(numbers):030d}")
        return intents.intend(request, {"verdict": "allowed", "controls": CONTROLS}, GROUNDS)

    event, intent = journal.append(Kind.OPERATOR_NOTED, EVENT), intend()
    taken: dict[str, list[tuple[float, float]]] = {}
    acts: tuple[tuple[str, Callable[[], object], int], ...] = (
        ("event, fdatasync", lambda: plain.append(event), 1),
        ("event, journal", lambda: journal.append(Kind.OPERATOR_NOTED, EVENT), 1),
        ("intent, fdatasync", lambda: plain.append(intent), 1),
        ("intent, journal", intend, 1),
        ("100 events, journal", lambda: grouped(journal), GROUP_EVERY),
    )
    for number in range(ROUNDS):
        for name, act, every in acts:
            if number % every == 0:
                taken.setdefault(name, []).append(timed(act))
    wall, processor = timed(journal.verify)
    records = journal.head().seq
    taken["verify"] = [(wall / records, processor / records)]
    journal.close()
    return taken


def main() -> None:
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    with tempfile.TemporaryDirectory(dir=home, prefix="journal-benchmark-") as directory:
        taken = measure(Path(directory))
    wall = {name: [one for one, _ in values] for name, values in taken.items()}
    mean = {name: statistics.fmean(values) for name, values in wall.items()}
    median = {name: statistics.median(values) for name, values in wall.items()}
    processor = {name: statistics.median(one for _, one in values) for name, values in taken.items()}
    for name, values in wall.items():
        p99 = sorted(values)[int(len(values) * 0.99)]
        spent = f"processor {processor[name]:7.1f}"
        print(
            f"{name:22} mean {mean[name]:9.1f} us   p50 {median[name]:9.1f}   p99 {p99:9.1f}   {spent}", file=sys.stderr
        )
    facts = {"load": round(os.getloadavg()[0], 1)}
    for name, one, other, rows in (
        ("event_ratio", "event, journal", "event, fdatasync", 1),
        ("intent_ratio", "intent, journal", "intent, fdatasync", 1),
        ("group_row_ratio", "100 events, journal", "event, fdatasync", GROUP),
    ):
        facts[name] = round(mean[one] / rows / mean[other], 4)
        facts[f"{name}_p50"] = round(median[one] / rows / median[other], 4)
    facts["verify_per_s"] = round(1e6 / processor["verify"])
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
