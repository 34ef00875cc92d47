"""This file knows what may be seen of orders and when: reads lag behind writes, cancels are only requests."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from perpctl.errors import UsageError
from perpctl.paper.advanced_trade.orders.rows import Row, Seen
from perpctl.paper.core import Exchange
from perpctl.paper.events import Event, Filled, OrderChanged
from perpctl.paper.keys import portfolio_of
from perpctl.paper.types import Order, Product, Rejected, Trade

ZERO = Decimal(0)
MOST_LAG_S = 60.0


@dataclass(slots=True)
class Switches:
    """What the venue may do to a client, settable while it runs. Seconds are wall time."""

    lag_s: float = 0.0  # reads show an order, a change of it or a fill up to so much later
    cancel_s: float = 0.02  # between a cancel's acceptance and its effect
    pending_s: float = 0.0  # a new order is reported as `pending_as` for so long
    pending_as: str = "PENDING"
    proof_token: str = ""  # without it, lists of orders and fills are empty and ask for it
    limit_ioc: bool = False  # whether sor_limit_ioc is taken
    window_forbidden: bool = False  # whether the margin window is answered with 403, as some accounts have seen

    def change(self, wanted: dict[str, Any]) -> None:
        """Set some. Raises UsageError for an unknown one or a value out of bounds."""
        try:
            new = msgspec.convert(asdict(self) | wanted, type(self), strict=False)
        except msgspec.ValidationError as why:
            raise UsageError(f"these switches cannot be read: {why}") from why
        unknown = set(wanted) - set(asdict(self))
        if unknown or new.pending_as not in ("PENDING", "QUEUED"):
            raise UsageError(f"switches are {', '.join(asdict(self))}; pending_as is PENDING or QUEUED")
        if not 0 <= new.lag_s <= MOST_LAG_S or new.cancel_s < 0 or new.pending_s < 0:
            raise UsageError(f"seconds are not negative, and lag_s is at most {MOST_LAG_S:g}")
        for name, value in asdict(new).items():
            setattr(self, name, value)


@dataclass
class Sight:
    """Orders and fills of one exchange as this face shows them."""

    exchange: Exchange
    seed: int
    switches: Switches = field(default_factory=Switches)
    edits: dict[str, list[Row]] = field(default_factory=dict)
    _labels: dict[tuple[int, str], str] = field(default_factory=dict)
    _trades: dict[str, list[Trade]] = field(default_factory=lambda: defaultdict(list))  # by order
    _late: dict[str, float] = field(default_factory=dict)  # trade id -> wall s from which reads show it
    _by_account: dict[int, list[Trade]] = field(default_factory=lambda: defaultdict(list))
    realised: dict[tuple[int, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))  # since the start
    _versions: dict[str, list[tuple[float, Order]]] = field(default_factory=dict)  # not all to be seen yet
    _last: dict[str, Order] = field(default_factory=dict)
    _cancels: dict[str, tuple[int, float]] = field(default_factory=dict)  # order id -> account, due wall s
    _accepted: dict[str, tuple[int, float]] = field(default_factory=dict)  # order id -> account, pending until
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable lags, not secrets
        for account in self.exchange.account_ids():
            for order in [*self.exchange.orders(account)[::-1], *self.exchange.open_orders(account)[::-1]]:
                self._note_label(order)
                self._last[order.order_id] = order
            for trade in self.exchange.trades(account):
                self._note_trade(trade, 0.0)

    def see(self, events: list[Event], wall_s: float) -> None:
        """Something happened."""
        for event in events:
            if isinstance(event, OrderChanged):
                self._note_version(event.order, wall_s)
            elif isinstance(event, Filled):
                shown_s = wall_s + self._random.random() * self.switches.lag_s if self.switches.lag_s else 0.0
                self._note_trade(event.trade, shown_s)

    def _note_trade(self, trade: Trade, shown_s: float) -> None:
        if shown_s:
            self._late[trade.trade_id] = shown_s
        self._trades[trade.order_id].append(trade)
        self._by_account[trade.account_id].append(trade)
        self.realised[trade.account_id, trade.product] += trade.profit_loss

    def trades(self, account: int) -> list[Trade]:
        """Every fill of an account, oldest first, without any lag. Not to be changed."""
        return self._by_account[account]

    def _note_version(self, order: Order, wall_s: float) -> None:
        self._note_label(order)
        before = self._last.get(order.order_id)
        self._last[order.order_id] = order
        if not self.switches.lag_s:
            return
        known = self._versions.setdefault(order.order_id, [] if before is None else [(0.0, before)])
        known.append((wall_s + self._random.random() * self.switches.lag_s, order))

    def accepted(self, order: Order, wall_s: float) -> None:
        """A new order came in just now."""
        if self.switches.pending_s:
            self._accepted[order.order_id] = (order.account_id, wall_s + self.switches.pending_s)

    def opened(self, wall_s: float) -> list[Order]:
        """Orders that are no longer pending since this was last asked."""
        over = [(order_id, account) for order_id, (account, until_s) in self._accepted.items() if until_s <= wall_s]
        for order_id, _ in over:
            del self._accepted[order_id]
        known = [self._known(account, order_id) for order_id, account in over]
        return [order for order in known if order is not None and order.is_live]

    def _note_label(self, order: Order) -> None:
        if order.label and not order.primary_order_id:
            self._labels.setdefault((order.account_id, order.label), order.order_id)

    def by_label(self, account: int, label: str) -> Order | None:
        """The first order that was ever given this client_order_id."""
        order_id = self._labels.get((account, label))
        return self._known(account, order_id) if order_id else None

    def _known(self, account: int, order_id: str) -> Order | None:
        try:
            return self.exchange.order(account, order_id)
        except Rejected:
            return None

    # -- cancels

    def ask_cancel(self, account: int, order_id: str, wall_s: float) -> str | None:
        """Accept the request to cancel; the reason when it is refused."""
        order = self._known(account, order_id)
        if order is None:
            return "UNKNOWN_CANCEL_ORDER"
        if order_id in self._cancels or order.state == "cancelled":
            return "DUPLICATE_CANCEL_REQUEST"
        if order.state == "filled":
            return "ORDER_IS_FULLY_FILLED"
        if not order.is_live:
            return "INVALID_CANCEL_REQUEST"
        if order.is_liquidation:
            return "NOT_ALLOWED_TO_CANCEL"
        if self.exchange.maintenance or self.exchange.ticker(order.product).state not in ("open", "locked"):
            return "INVALID_CANCEL_FCM_TRADING_SESSION"
        self._cancels[order_id] = (account, wall_s + self.switches.cancel_s)
        return None

    def cancelling(self, account: int, order_id: str) -> Order | None:
        """The order, when a cancel of it was accepted and has had no effect yet."""
        return self._known(account, order_id) if order_id in self._cancels else None

    def carry_out(self, wall_s: float) -> bool:
        """Cancel what is due; whether there was any."""
        due = [(order_id, account) for order_id, (account, at_s) in self._cancels.items() if at_s <= wall_s]
        for order_id, account in due:
            del self._cancels[order_id]
            try:
                self.exchange.cancel(account, order_id, self.exchange.now)
            except Rejected:
                continue  # it filled first, or the session ended: that is what only a request means
        return bool(due)

    # -- reads

    def orders(
        self, account: int, wall_s: float, *, among: Collection[str] = (), live_only: bool = False
    ) -> list[Seen]:
        """Every order that a read may show now, newest first: of `among` if given, or without what surely has ended."""
        found = [] if among else self.exchange.open_orders(account)
        if among:
            named = [self._known(account, order_id) for order_id in set(among)]
            found = [order for order in named if order is not None]
        elif live_only:  # what ended lately may still be shown as it was
            late = [self._known(account, order_id) for order_id in self._versions]
            found += [order for order in late if order is not None and not order.is_live]
        else:
            found += self.exchange.orders(account)
        found.sort(key=lambda order: (order.created_ms, order.order_id[-12:]), reverse=True)
        return [seen for order in found if (seen := self._seen(order, wall_s)) is not None]

    def order(self, account: int, order_id: str, wall_s: float) -> Seen | None:
        """One order, None when there is none or no read may show it yet."""
        order = self._known(account, order_id)
        return self._seen(order, wall_s) if order is not None else None

    def fills(self, account: int, wall_s: float, since_ms: int = 0) -> list[Trade]:
        """Fills from then on that a read may show now, newest first."""
        newest_first = itertools.takewhile(lambda trade: trade.at_ms >= since_ms, reversed(self._by_account[account]))
        return [trade for trade in newest_first if self._late.get(trade.trade_id, 0.0) <= wall_s]

    def newest(self, order: Order) -> Seen:
        """An order without any lag, as the user channel tells of it."""
        return self._with_details(order, float("inf"))

    def _seen(self, order: Order, wall_s: float) -> Seen | None:
        versions = self._versions.get(order.order_id)
        if versions is not None:
            shown = [version for shown_s, version in versions if shown_s <= wall_s]
            if not shown:
                return None
            order = shown[-1]
            if order is versions[-1][1]:
                del self._versions[order.order_id]
        return self._with_details(order, wall_s)

    def _with_details(self, order: Order, until_s: float) -> Seen:
        product = self.exchange.product(order.product)
        return Seen(
            order,
            product,
            tuple(one for one in self._trades.get(order.order_id, ()) if self._late.get(one.trade_id, 0.0) <= until_s),
            portfolio_of(order.account_id),
            pending_cancel=order.order_id in self._cancels,
            waiting=self.switches.pending_as if order.order_id in self._accepted else "",
            edits=tuple(self.edits.get(order.order_id, ())),
            hold=_hold(order, product),
        )

    def memory(self) -> dict[str, Any]:
        """What must outlive the process."""
        return {"edits": self.edits}


def _hold(order: Order, product: Product) -> Decimal:
    """What a resting order binds at the dearer rates."""
    rates = product.night_rates
    if order.state != "open" or rates is None or order.price is None or order.is_bracket:
        return ZERO
    held = order.remaining * order.price * (rates.long if order.sign > 0 else rates.short)
    return held.quantize(Decimal("0.01"), rounding="ROUND_CEILING")
