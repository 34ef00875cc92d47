"""This file closes positions up the ladder: one close in flight each, unknown outcomes settled before the next."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from functools import partial

from perpctl.emergency.pending import Record
from perpctl.emergency.venue.gateway import Gateway, Said
from perpctl.emergency.venue.rows import SETTLEMENT_CURRENCY, Execution, Ticker, market_of
from perpctl.emergency.venue.wire import NoAnswer, at_once, few_at_a_time
from perpctl.model import identity
from perpctl.model.flatten import LADDER, Climb, Close, Key, Market, is_exhausted, key_of, next_closes
from perpctl.model.money import ZERO
from perpctl.model.order import Order
from perpctl.model.position import Position

SETTLE_AGAIN_S = 0.25
NEAR_LIQUIDATION = Decimal("0.02")
Rungs = tuple[Decimal | None, ...]
_WAITING_BOOK = frozenset({"locked", "settlement", "halted", "inactive"})
_SIZE_REFUSED = frozenset({10002, 10021, 10022, 10027})
NOTHING_LEFT = frozenset({10004, 10010, 11008, 11044})  # gone already: cancelled, filled, closed
_ACCOUNT_LOCKED = 11098  # what closes get while a liquidation runs
_VALID_AND_A_LITTLE_MS = 4_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for. On the monotonic clock: `began` at Enter, `latched` when every latch was written."""

    kill_id: str
    who: str
    reason: str
    command: str
    began: float
    latched: float
    scope: str
    rungs: Rungs = LADDER
    entries_only: bool = False  # several live profiles: each loses its entries, none is closed
    identity_key: bytes | None = None


@dataclass(slots=True)
class Closed:
    """What closing one position came to so far; `size` as it was when closing began."""

    size: Decimal
    arrival: Decimal | None = None
    executions: dict[str, Execution] = field(default_factory=dict)
    orders: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: closes sent, books that let nothing through, positions for which the ladder has ended."""

    sent: int
    filled: bool
    waiting: tuple[str, ...]
    exhausted: int


class Closer:
    """The one closer of a kill."""

    def __init__(self, record: Record, wish: Wish, after: Callable[[], float]) -> None:
        self.closed: dict[Key, Closed] = {}
        self.unsettled: dict[str, str] = {}  # labels of closes whose outcome is not known
        self.refusals: dict[str, str] = {}
        self.locked = False  # the venue refused the last closes because the account is locked: it liquidates
        self.last_order: Order | None = None  # the last of ours that the venue confirmed
        self.rungs = wish.rungs
        self._partly = wish.scope != "account"
        self._record = record
        self._key = wish.identity_key or bytes(32)  # the kill mark is read without any key
        self._after = after
        self._climbs: dict[Key, Climb] = {}
        self._unsized: set[Key] = set()

    def close_some(self, gateway: Gateway, positions: Sequence[Position]) -> Round:
        """One round: fresh books, then the closes that they and the ladder allow, all at once.

        Raises NoAnswer or Said when an outcome is unknown or the venue throttles.
        """
        self.meet(positions)
        tickers, markets = self._markets(gateway, positions)
        waiting = tuple(sorted(name for name, ticker in tickers.items() if ticker.state in _WAITING_BOOK))
        ready = [self._as_sized(position) for position in positions if position.product_id not in waiting]
        if self._partly:
            ready = [position for position in ready if position.units_agree]
        rungs = LADDER[-1:] if near_liquidation(gateway, positions) else self.rungs
        start = {key: closed.size for key, closed in self.closed.items()}
        closes = next_closes(ready, markets, self._climbs, rungs, start)
        if self._partly:
            closes = _never_whole(closes, ready)
        filled = self._send(gateway, closes)
        ended = sum(1 for each in ready if is_exhausted(self._climbs.get(key_of(each), Climb()), rungs))
        ended += len(positions) - len(ready) if self._partly and not waiting else 0
        return Round(len(closes), filled, waiting, ended)

    def meet(self, positions: Sequence[Position]) -> None:
        """Remember each position as it was first seen."""
        for position in positions:
            self.closed.setdefault(key_of(position), Closed(position.size))

    def shows_last_order(self, gateway: Gateway) -> bool:
        """Whether the venue's reads hold the last order of ours that it confirmed; without one, nothing to compare."""
        last = self.last_order
        if last is None:
            return True
        try:
            seen = gateway.order(last.order_id, last.slot is not None)
        except Said:
            return False
        return seen.status.is_terminal and seen.filled >= last.filled

    def _as_sized(self, position: Position) -> Position:
        """A position whose size the venue refused is closed without naming one."""
        return replace(position, units_agree=False) if key_of(position) in self._unsized else position

    def _markets(self, gateway: Gateway, positions: Sequence[Position]) -> tuple[dict[str, Ticker], dict[str, Market]]:
        """What can be read of each product; what cannot is closed at market without a size."""
        names = list(dict.fromkeys(position.product_id for position in positions))
        seen = few_at_a_time([partial(gateway.ticker, name) for name in names])
        tickers = {name: each for name, each in zip(names, seen, strict=True) if isinstance(each, Ticker)}
        specified = few_at_a_time([partial(gateway.instrument, name) for name in names])
        known = {name: each for name, each in zip(names, specified, strict=True) if isinstance(each, dict)}
        for key, closed in self.closed.items():
            if closed.arrival is None and key[0] in tickers:
                closed.arrival = tickers[key[0]].mid
        return tickers, {name: market_of(name, known.get(name), tickers.get(name)) for name in names}

    def _send(self, gateway: Gateway, closes: Sequence[Close]) -> bool:
        """Send all at once; whether anything was filled."""
        self.locked = False
        outcomes = at_once([partial(self._close, gateway, close) for close in closes])
        trouble: Exception | None = None
        total = ZERO
        for close, filled in zip(closes, outcomes, strict=True):
            if isinstance(filled, Exception):
                trouble = trouble or filled
            else:
                total += filled
                if filled == 0 and self.locked:
                    continue  # a refusal that says nothing about the price
                self._climbs[key_of(close)] = self._climbs.get(key_of(close), Climb()).after(filled)
        if trouble is not None:
            raise trouble
        return total > 0

    def _close(self, gateway: Gateway, close: Close) -> Decimal:
        """Send one close and learn what it filled. Raises NoAnswer when its outcome stays unknown."""
        label = identity.make(self._key, identity.KILL_EPOCH, int.from_bytes(os.urandom(8)))
        self._record.write(
            "close",
            product=close.product_id,
            slot=close.slot,
            side=close.side,
            size=close.size,
            price=close.price,
            label=label,
            after_s=round(self._after(), 3),
        )
        closed = self.closed[key_of(close)]
        closed.orders += 1
        try:
            order, executions = gateway.close(close, label)
        except Said as why:
            return self._refused(close, why)
        except NoAnswer as why:
            if not why.sent or close.size is None:
                raise  # the venue's own close has no label; it can only shrink, so the next look settles it
            order, executions = self._settle(gateway, close, label, why)
        self._record.write(
            "closed",
            label=label,
            order=asdict(order),
            fills=[asdict(execution.fill) for execution in executions],
            after_s=round(self._after(), 3),
        )
        closed.executions.update({execution.fill.trade_id: execution for execution in executions})
        self.last_order = order
        return order.filled

    def _refused(self, close: Close, why: Said) -> Decimal:
        if why.throttled:
            raise why
        if why.code == _ACCOUNT_LOCKED:
            self.locked = True
        if why.code in _SIZE_REFUSED and close.size is not None:
            self._unsized.add(key_of(close))
        if why.code not in NOTHING_LEFT:
            self.note_refusal(f"close {close.product_id}", why)
        return ZERO

    def note_refusal(self, what: str, why: Said) -> None:
        """What the venue said no to, for the receipt."""
        if self.refusals.get(what) != str(why):
            self.refusals[what] = str(why)
            self._record.write("refused", what=what, text=str(why), after_s=round(self._after(), 3))

    def _settle(self, gateway: Gateway, close: Close, label: str, why: NoAnswer) -> tuple[Order, tuple[Execution, ...]]:
        """What became of a close that was not answered: found by its label, or past its validity and not listed.

        Raises NoAnswer when it was not found; it stays in `unsettled` unless proven never to have come.
        """
        self.unsettled[label] = f"{close.product_id}: {why.cause}"
        self._record.write("unknown", label=label, text=why.cause, after_s=round(self._after(), 3))
        end = gateway.market_ms() + _VALID_AND_A_LITTLE_MS
        while True:
            late = gateway.market_ms() > end
            try:
                found = gateway.orders_by_label(currency_of(close.product_id), label)
                if found:
                    del self.unsettled[label]
                    return found[0], gateway.trades(found[0].order_id, close.slot is not None)
            except (NoAnswer, Said):
                if late:
                    raise why from None
            else:
                if late:
                    del self.unsettled[label]
                    raise why
            time.sleep(SETTLE_AGAIN_S)


def _never_whole(closes: Sequence[Close], ours: Sequence[Position]) -> tuple[Close, ...]:
    """The venue's own close takes what others hold as well: a part is closed by naming its size."""
    sizes = {key_of(position): abs(position.size) for position in ours}
    return tuple(replace(close, size=close.size or sizes[key_of(close)]) for close in closes)


def near_liquidation(gateway: Gateway, positions: Sequence[Position]) -> bool:
    """Whether an adverse move of 2 % would bring the account to its maintenance margin."""
    owner = gateway.owner
    gross = sum((abs(position.notional or ZERO) for position in positions), ZERO)
    if owner is None or gross == 0:
        return False
    return owner.margin_balance - owner.maintenance_margin < NEAR_LIQUIDATION * gross


def currency_of(product_id: str) -> str:
    """The settlement currency: USDC of BTC_USDC-PERPETUAL, BTC of BTC-PERPETUAL."""
    pair = product_id.split("-")[0]
    return pair.split("_")[-1] or SETTLEMENT_CURRENCY
