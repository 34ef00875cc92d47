"""Plays a recorded month through bot and exchange as fast as it goes, and checks the money three times over.

`python -m tests.drills.month [FILE] [us] [DAYS] [quoter|trend ...]`: each strategy with loss limits set wide by name,
twice, byte for byte; then once with the default limits, to see when and why they stop it. FILE is minutes of a market
as csv.gz; without it ../shared is looked at. The books compared: the bot's own, the exchange's transaction log, and a
reading of the journal here, which uses sqlite3, json and hashlib and none of our code. What cannot be known from
outside is named: a venue may book funding and tell nobody, and tells its figures rounded. Such funding is reckoned anew
from the journal's positions and the rates of each hour, which the venue does tell.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl.clock import from_ms
from perpctl.engine.loop import Bot
from perpctl.engine.simulation.play import Audience, Played, Script, play
from perpctl.engine.strategy import choose
from perpctl.paper.core import Exchange
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import FundingHour
from perpctl.risk.limits import Limits, RiskLevel, level_limits, with_overrides
from tests.trading import PRODUCTS

MONTH = Path(__file__).parents[2] / "../shared/data/btc-perp-1m-2022-01.csv.gz"
SYMBOLS, SEED = ("BTC-PERP",), 7
# How far a fee or a payment that is told may be from what was booked: eight digits here, all of them there.
TOLD_WITHIN = {"global": Decimal("0.000000005"), "us": Decimal(0)}
# And the equity that is told: eight digits of a sum, or a sum of figures of which two were rounded to cents.
EQUITY_WITHIN = {"global": Decimal("0.00000001"), "us": Decimal("0.01")}
DEFAULT = level_limits(RiskLevel.CONSERVATIVE)
WIDE = with_overrides(
    DEFAULT,
    {
        "day_loss_warn_pct": "90",
        "day_loss_reduce_pct": "95",
        "day_loss_kill_pct": "99",
        "drawdown_halt_pct": "99",
        "losing_round_trips": "1000000",
        "same_side_executions": "1000000",
    },
    "drill",
)


@dataclass(frozen=True)
class Part:
    """What is played: of a market, at a venue, so many days of it (None: all)."""

    feed: Path
    venue: str = "global"
    days: int | None = None


@dataclass
class Books:
    """What one run comes to by somebody's reckoning."""

    cash: Decimal = Decimal(0)  # of fills, from nothing, without fees
    fees: Decimal = Decimal(0)
    funding: Decimal = Decimal(0)
    payments: int = 0
    size: Decimal = Decimal(0)
    trades: set[str] = field(default_factory=set)
    moves: list[tuple[int, Decimal]] = field(default_factory=list)  # market ms, signed size

    def trade(self, at_ms: int, trade_id: str, side: str, size: Decimal, price: Decimal, fee: Decimal) -> None:
        signed = size if side.lower() == "buy" else -size
        self.size += signed
        self.moves.append((at_ms, signed))
        self.cash -= signed * price
        self.fees += fee
        self.trades.add(trade_id)


def journal_books(path: Path) -> tuple[Books, str | None]:
    """The journal read with the standard library: its money, and what is wrong with its chain, if anything."""
    books, trouble = Books(), None
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        founding = connection.execute("SELECT env, venue, profile, created_at FROM chain").fetchone()
        begin = json.dumps(list(founding), separators=(",", ":"), ensure_ascii=False).encode()
        last = hashlib.sha256(b"perpctl.journal/1" + begin).digest()
        rows = connection.execute("SELECT seq, canonical, prev_hash, hash FROM journal ORDER BY seq")
        for number, (seq, text, prev, own) in enumerate(rows, start=1):
            if (seq, prev, own) != (number, last, hashlib.sha256(last + text.encode()).digest()):
                return books, f"the chain breaks at line {number}"
            last = own
            line = json.loads(text)
            if line["kind"] == "fill.booked":
                fill = line["body"]["fill"]
                figures = (Decimal(fill[name]) for name in ("size", "price", "fee"))
                books.trade(fill["at_ms"], fill["trade_id"], fill["side"], *figures)
            elif line["kind"] == "funding.booked":
                books.funding += Decimal(line["body"]["payment"]["amount"])
                books.payments += 1
    return books, trouble


def exchange_of(bot: Bot) -> Exchange:
    """The exchange behind the client of a bot that was played."""
    line = getattr(bot.gear.exchange, "_line", None)
    memory = line.transport if line is not None else bot.gear.exchange._rest.web  # type: ignore[attr-defined]
    found: Exchange = memory.venue.exchange
    return found


def told(trade_id: str, venue: str) -> str:
    """What the venue's face calls a trade of its log."""
    return trade_id if venue == "global" else hashlib.sha256(trade_id.encode()).hexdigest()


def venue_books(bot: Bot, venue: str) -> tuple[Books, Decimal]:
    """The exchange's own trades as it logged them (two rows where one turned the position), and its log's last cash."""
    books = Books()
    log = exchange_of(bot).ledger(MAIN_ACCOUNT)
    for row in log:
        if row.type == "trade":
            assert row.side is not None
            assert row.trade_id is not None
            assert row.amount is not None
            assert row.price is not None
            books.trade(
                row.at_ms, told(row.trade_id, venue), row.side.split()[-1], row.amount, row.price, row.commission
            )
    return books, sum((row.change for row in log), Decimal(0))


def run(part: Part, strategy: str, limits: Limits, directory: Path) -> dict[str, Any]:
    """One run with all its checks; `trouble` should be empty."""
    stops: list[str] = []

    def noted(bot: Bot, note: Any) -> None:
        if note.kind == "MODE":
            stops.append(f"{from_ms(bot.core.market_ms):%Y-%m-%d %H:%M:%S} {note.text}")

    market_s = None if part.days is None else part.days * 86_400
    script = Script(f"replay:{part.feed}", SEED, market_s, SYMBOLS, limits, choose(strategy), part.venue)
    began = time.perf_counter()
    bot, played = play(script, directory, Audience(noted))
    took = time.perf_counter() - began
    return {
        "took_s": round(took, 1),
        "ticks": played.ticks,
        "ticks_per_s": round(played.ticks / played.took_s),
        "fills": played.ended.fills,
        "equity": f"{played.equity:.2f}",
        "mode": bot.core.mode.value,
        "stops": stops[:5],
        "records": played.records,
        "head": played.head,
        "journal_sha256": hashlib.sha256(_lines(directory / "journal.db")).hexdigest(),
        **_compared(bot, played, directory, part.venue),
    }


def reckoned(books: Books, hours: list[FundingHour]) -> tuple[Decimal, Decimal]:
    """(what our positions came to in hourly funding, by how much that may be off): the mark of an hour is told nowhere,
    and the index beside it is in this market at most a thousandth away."""
    moves, held = deque(sorted(books.moves)), Decimal(0)
    total = gross = Decimal(0)
    for hour in hours:
        while moves and moves[0][0] < hour.at_ms:
            held += moves.popleft()[1]
        amount = -held * hour.interest_1h * hour.index_price
        total, gross = total + amount, gross + abs(amount)
    return total, gross / 900


def _compared(bot: Bot, played: Played, directory: Path, venue_name: str) -> dict[str, Any]:
    """The books side by side, to the last digit, and apart from them what the venue tells of its equity."""
    exchange = exchange_of(bot)
    account, mark = exchange.account(MAIN_ACCOUNT), exchange.ticker(PRODUCTS[venue_name]).mark_price
    journal, broken = journal_books(directory / "journal.db")
    venue, cash = venue_books(bot, venue_name)
    told_by_row = bot.gear.exchange.terms.continuous_funding
    paid = sum((one.funding for one in exchange.settlements(MAIN_ACCOUNT)), Decimal(0))
    running, untold = account.session_funding, Decimal(0) if told_by_row else paid
    price_result = journal.cash + journal.size * mark
    ours = played.start_equity + price_result - journal.fees + journal.funding
    apart = {
        "own books": played.difference,
        "journal": account.equity - running - untold - ours,
        "exchange's log": account.balance - cash,
        "equity as told": played.equity - (account.equity if told_by_row else account.equity - running),
    }
    within = TOLD_WITHIN[venue_name] * (len(journal.trades) + journal.payments)
    if not told_by_row:
        estimate, off = reckoned(journal, exchange.funding_hours(PRODUCTS[venue_name], 0, exchange.now))
        apart["funding reckoned"] = running + untold - estimate
    bounds = dict.fromkeys(apart, within) | {"exchange's log": Decimal(0), "equity as told": EQUITY_WITHIN[venue_name]}
    bounds |= {} if told_by_row else {"funding reckoned": off}
    trouble = [f"{name} are {it} apart" for name, it in apart.items() if it is None or abs(it) > bounds[name]]
    trouble += [f"fill {one} stands in one of the two books only" for one in journal.trades ^ venue.trades]
    trouble += [] if journal.size == venue.size else [f"we hold {journal.size}, they say {venue.size}"]
    trouble += (
        [] if abs(journal.fees - venue.fees) <= within else [f"we paid {journal.fees} in fees, they took {venue.fees}"]
    )
    trouble += [] if len(journal.trades) == played.ended.fills else [f"the bot counted {played.ended.fills} fills"]
    trouble += [broken] if broken else []
    trouble += [] if played.is_whole else ["verify finds the chain broken"]
    parts = {"start": played.start_equity, "realised and unrealised": price_result, "fees": -journal.fees}
    parts |= {"funding told": journal.funding, "funding booked and not told": untold, "funding running": running}
    sums = {name: f"{value:.6f}" for name, value in parts.items()} | {"equity": f"{account.equity:.6f}"}
    return {"sums": sums, "apart": {name: str(value) for name, value in apart.items()}, "trouble": trouble}


def _lines(path: Path) -> bytes:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        return b"\n".join(text.encode() for (text,) in connection.execute("SELECT canonical FROM journal ORDER BY seq"))


def month(strategy: str, part: Part, place: Path) -> dict[str, Any]:
    """Wide twice and default once."""
    first, second = (run(part, strategy, WIDE, place / f"{strategy}-{name}") for name in ("one", "two"))
    same = [name for name in ("head", "journal_sha256", "records") if first[name] != second[name]]
    default = run(part, strategy, DEFAULT, place / f"{strategy}-default")
    trouble = [f"two runs of one seed differ in {name}" for name in same]
    trouble += [f"{name}: {line}" for name, one in (("wide", first), ("default", default)) for line in one["trouble"]]
    return {"wide": first, "again_s": second["took_s"], "default": default, "trouble": trouble}


def main() -> None:
    words = sys.argv[1:]
    feed = Path(words.pop(0)) if words and words[0].endswith(".gz") else MONTH
    venue = words.pop(0) if words and words[0] in PRODUCTS else "global"
    part = Part(feed, venue, int(words.pop(0)) if words and words[0].isdigit() else None)
    trouble = []
    with tempfile.TemporaryDirectory() as place:
        for strategy in words or ["quoter", "trend"]:
            found = month(strategy, part, Path(place))
            trouble += found["trouble"]
            print(json.dumps({strategy: found}, indent=2), flush=True)  # noqa: T201
    sys.exit(1 if trouble else 0)


if __name__ == "__main__":
    main()
