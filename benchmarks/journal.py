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

ROUNDS = 40
A_ROUND = 25
GROUP = 100

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


def timed(act: Callable[[], object], count: int) -> list[float]:
    """Microseconds of each of `count` calls."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        taken.append((time.perf_counter() - began) * 1e6)
    return taken


def grouped(journal: Journal) -> None:
    with journal.batch():
        for _ in range(GROUP):
            journal.append(Kind.OPERATOR_NOTED, EVENT)


def measure(directory: Path) -> dict[str, list[float]]:
    """Interleaved rounds, so that a disk that slows down slows everything down alike."""
    journal = Journal.open(directory / "journal.db", WRITER, SystemClock())
    intents = Intents(Projections(journal))
    plain, numbers = Plain(directory / "plain.jsonl"), iter(range(10**9))

    def intend() -> Record:
        request = replace(REQUEST, identity=f"intent-{next(numbers):030d}")
        return intents.intend(request, {"verdict": "allowed", "controls": CONTROLS}, GROUNDS)

    event, intent = journal.append(Kind.OPERATOR_NOTED, EVENT), intend()
    taken: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, act, count in (
            ("event, fdatasync", lambda: plain.append(event), A_ROUND),
            ("event, journal", lambda: journal.append(Kind.OPERATOR_NOTED, EVENT), A_ROUND),
            ("intent, fdatasync", lambda: plain.append(intent), A_ROUND),
            ("intent, journal", intend, A_ROUND),
            ("100 events, journal", lambda: grouped(journal), 1),
        ):
            taken.setdefault(name, []).extend(timed(act, count))
    began = time.perf_counter()
    verdict = journal.verify()
    taken["verify"] = [(time.perf_counter() - began) * 1e6 / verdict.records]
    journal.close()
    return taken


def main() -> None:
    home = Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd()
    with tempfile.TemporaryDirectory(dir=home, prefix="journal-benchmark-") as directory:
        taken = measure(Path(directory))
    mean = {name: statistics.fmean(values) for name, values in taken.items()}
    median = {name: statistics.median(values) for name, values in taken.items()}
    for name, values in taken.items():
        p99 = sorted(values)[int(len(values) * 0.99)]
        print(f"{name:22} mean {mean[name]:9.1f} us   p50 {median[name]:9.1f}   p99 {p99:9.1f}", file=sys.stderr)
    facts = {
        "event_ratio": round(mean["event, journal"] / mean["event, fdatasync"], 3),
        "event_ratio_p50": round(median["event, journal"] / median["event, fdatasync"], 3),
        "intent_ratio": round(mean["intent, journal"] / mean["intent, fdatasync"], 3),
        "intent_ratio_p50": round(median["intent, journal"] / median["intent, fdatasync"], 3),
        "group_row_ratio": round(mean["100 events, journal"] / GROUP / mean["event, fdatasync"], 4),
        "group_row_ratio_p50": round(median["100 events, journal"] / GROUP / median["event, fdatasync"], 4),
        "verify_per_s": round(1e6 / mean["verify"]),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
