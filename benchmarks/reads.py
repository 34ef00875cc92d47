"""Reads over a large journal, as ratios of what they replace: reconcile, positions, and verifying the chain.

Run it as `python benchmarks/reads.py [RECORDS]` (1,000,000 by default; it needs some 3 GB beside the working directory
and several minutes to build). Written without waiting for the disk: only reads are measured.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import apsw
from journal import EVENT, WRITER

from perpctl.clock import SystemClock
from perpctl.model.books.reconcile import Ours, Theirs, compare
from perpctl.model.fill import Fill
from perpctl.model.order import Side
from perpctl.store.journal import Journal
from perpctl.store.projections import Projections
from perpctl.store.records import Kind

PRODUCTS = ("BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL", "SOL_USDC-PERPETUAL")
NEWS, BATCH, ROUNDS = 3_000, 5_000, 5
MS = 1_795_424_400_000
VENUE = "global"
GOALS = {
    "reconcile / full diff of ids": 0.02,
    "reconcile ms": 50,
    "positions / group-by": 0.05,
    "verify / hashing the same bytes": 2.0,
    "verified per s": 250_000,
}


def fill(n: int) -> Fill:
    """Of a desk that is flat after every second fill."""
    turn = n // len(PRODUCTS)
    side = Side.SELL if turn % 2 else Side.BUY
    size, price = Decimal(turn // 2 % 7 + 1) / 1000, Decimal(84_000 + n % 500)
    label = f"00010000-0000-8000-{n % 65536:04x}-{n:012x}"
    name = f"USDC-{60_000_000 + n}"
    product, fee = PRODUCTS[n % len(PRODUCTS)], Decimal("0.29")
    return Fill(name, f"o{name}", label, product, side, size, price, fee, "USDC", "M", MS + n)


def booked(directory: Path, count: int) -> Journal:
    """A journal of `count` fills, each folded into the projections as it is when trading."""
    journal = Journal.open(directory / "fills.db", WRITER, SystemClock(), durable=False)
    for start in range(0, count, BATCH):
        with journal.batch():
            for n in range(start, min(count, start + BATCH)):
                one = fill(n)
                body = {"seen_by": "reply", "order_id": one.order_id, "counted_once_key": one.trade_id, "fill": one}
                journal.append(Kind.FILL_BOOKED, body, None, one.at_ms)
    return journal


def noted(directory: Path, count: int) -> Journal:
    journal = Journal.open(directory / "events.db", WRITER, SystemClock(), durable=False)
    for start in range(0, count, BATCH):
        with journal.batch():
            for _ in range(min(BATCH, count - start)):
                journal.append(Kind.OPERATOR_NOTED, EVENT)
    return journal


def reconciled(projections: Projections, news: tuple[Fill, ...]) -> int:
    """What reconcile does here once the venue has answered with `news`."""
    ours = Ours(
        projections.ledger(Decimal(0), "USDC"),
        projections.booked_fills(VENUE, (one.trade_id for one in news)),
        projections.booked_funding(VENUE, ()),
        {one.order_id: one.order for one in projections.working_orders() if one.order_id and one.order},
        {one.key: one.request for one in projections.unknown_orders() if one.request is not None},
    )
    return len(compare(ours, Theirs((), (), news), lambda _: True).differences)


def held(projections: Projections) -> int:
    """What `positions` asks of the journal: what is held, and the fills that made it."""
    return sum(len(projections.since_flat(one.product_id, one.slot)) for one in projections.positions())


def full_diff(connection: apsw.Connection, theirs: frozenset[str]) -> int:
    return len(theirs - {name for (name,) in connection.execute("SELECT trade_id FROM fills")})


def typed(connection: apsw.Connection, count: int) -> apsw.Connection:
    """The fills as columns in memory: the fairest table to group."""
    table = apsw.Connection(":memory:")
    table.execute("CREATE TABLE fills (product TEXT, signed REAL, cash REAL, fee REAL)")
    rows = (
        (one.product_id, float(one.side.sign * one.size), float(-one.side.sign * one.size * one.price), float(one.fee))
        for one in map(fill, range(count))
    )
    with table:
        table.executemany("INSERT INTO fills VALUES (?, ?, ?, ?)", rows)
    return table


def seconds(act: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Of processor time: nothing here waits but for its turn, and a busy machine should not show."""
    taken = []
    for _ in range(rounds):
        began = time.thread_time()
        act()
        taken.append(time.thread_time() - began)
    return statistics.median(taken)


def hashed(canonical: list[bytes]) -> None:
    for one in canonical:
        hashlib.sha256(one).digest()


def fills_read(directory: Path, count: int) -> dict[str, float]:
    with booked(directory, count) as journal:
        projections, news = Projections(journal), tuple(fill(n) for n in range(count - 100, count + NEWS - 100))
        assert reconciled(projections, news) >= NEWS - 100
        everything = frozenset(fill(n).trade_id for n in range(count + NEWS - 100))
        reconcile_s = seconds(lambda: reconciled(projections, news))
        diff_s = seconds(lambda: full_diff(journal.connection, everything), 3)
        table = typed(journal.connection, count)
        grouped = "SELECT product, sum(signed), sum(cash), sum(fee) FROM fills GROUP BY product"
        group_s = seconds(lambda: table.execute(grouped).fetchall(), 3)
        positions_s = seconds(lambda: held(projections))
    return {
        "reconcile / full diff of ids": reconcile_s / diff_s,
        "reconcile ms": reconcile_s * 1e3,
        "positions / group-by": positions_s / group_s,
    }


def chain_read(directory: Path, count: int) -> dict[str, float]:
    with noted(directory, count) as journal:
        sql = "SELECT prev_hash, CAST(canonical AS BLOB) FROM journal"
        canonical = [before + line for before, line in journal.connection.execute(sql)]
        hash_s = seconds(lambda: hashed(canonical), 3)
        canonical.clear()
        assert journal.verify().records == count
        verify_s = seconds(journal.verify, 3)
    return {"verify / hashing the same bytes": verify_s / hash_s, "verified per s": count / verify_s}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="reads-benchmark-") as place:
        found = chain_read(Path(place), count) | fills_read(Path(place), count)
    shown = {name: {"measured": float(f"{value:.4g}"), "goal": GOALS[name]} for name, value in found.items()}
    print(json.dumps({"records": count, "new_fills": NEWS, **shown}, indent=2))


if __name__ == "__main__":
    main()
