"""This file is the US venue as a kill needs it: reads in base coin, cancels in batches, closes that can be repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

from perpctl.emergency.target import Pin
from perpctl.emergency.venue import terms
from perpctl.emergency.venue.advanced_trade import rows
from perpctl.emergency.venue.advanced_trade.lists import SOURCES, Lists
from perpctl.emergency.venue.advanced_trade.protection import Protection
from perpctl.emergency.venue.advanced_trade.rest import Rest, most_ids
from perpctl.emergency.venue.document import Row, row_of, rows_of
from perpctl.emergency.venue.port import (
    Book,
    Execution,
    LabelledFill,
    Lately,
    Listing,
    Meaning,
    Owner,
    Product,
    Said,
    Session,
    Ticker,
)
from perpctl.emergency.venue.signing import read_key
from perpctl.emergency.venue.wire import Line, NoAnswer
from perpctl.emergency.world import ThisMachine, World, few_at_a_time, side_by_side
from perpctl.errors import AccountMismatch, CredentialError
from perpctl.model import identity
from perpctl.model.flatten import Close
from perpctl.model.money import plain
from perpctl.model.order import Order, OrderType, Side
from perpctl.model.position import Position

MOST_IDS = 100  # changelog of 16 January 2024; the venue may lower it, and then says to how many
BOOK_LEVELS = "250"
READ_BACK_S = (0.0, 0.1, 0.2, 0.4, 0.8)  # a new order can be unknown to reads for a moment (seen)
_SCOPES = ("view", "trade", "transfer")
_MEANINGS = {
    **dict.fromkeys(("UNKNOWN_CANCEL_ORDER", "ORDER_IS_FULLY_FILLED", "DUPLICATE_CANCEL_REQUEST"), Meaning.GONE),
    **dict.fromkeys(("INVALID_CANCEL_FCM_TRADING_SESSION", "INVALID_FCM_TRADING_SESSION"), Meaning.SHUT),
    **dict.fromkeys(("INVALID_BASE_SIZE_TOO_LARGE", "INVALID_SIZE_PRECISION"), Meaning.SIZE),
    **dict.fromkeys(("ORDER_SIZE_EXCEEDS_BRACKETED_POSITION",), Meaning.HELD),
    "IN_LIQUIDATION": Meaning.LOCKED,
}


class AdvancedTrade:
    """One portfolio, entered with the first of several keys that reaches the pinned one. See `port.CappedVenue`."""

    terms = terms.US

    def __init__(
        self,
        line: Line,
        base_url: str,
        key_files: Sequence[Path],
        pin: Pin | None,
        key_name: str | None = None,
        *,
        world: World | None = None,
    ) -> None:
        self.pin = pin
        self.owner: Owner | None = None
        self.notes: list[str] = []
        self._world = world or ThisMachine()
        self._rest = Rest(line, base_url, self._world)
        self._lists = Lists(self._rest, self._world)
        self._key_files = tuple(dict.fromkeys(key_files))
        self._key_name = key_name
        self._key_file: Path | None = None
        self._portfolio: str | None = None
        self._scope: str | None = None
        self._offset_ms = 0  # the venue's clock less ours
        self._products: dict[str, Product] = {}
        self._spot: set[str] = set()
        self._most_ids = MOST_IDS
        self._protection = Protection()

    # -- who

    def enter(self) -> Owner | None:
        """Raises NoAnswer, AccountMismatch when every key that works reaches another account, else CredentialError."""
        refused: list[str] = []
        strayed: list[str] = []
        for path in self._key_files:
            try:
                key = self._rest.key = read_key(path, self._key_name)
                allowed, summary = self._who_and_what()
            except (CredentialError, Said) as why:
                refused.append(f"{path.name}: {why}")
                continue
            self._portfolio = row_of(allowed, lambda row: str(row["portfolio_uuid"]))
            if self.pin is not None and self._portfolio != self.pin.account_id:
                strayed.append(f"{key.short_id} reaches account {self._portfolio}")
                continue
            if allowed.get("can_trade") is not True:
                refused.append(f"{path.name}: this key may not trade")
                continue
            self._scope = " ".join(scope for scope in _SCOPES if allowed.get(f"can_{scope}") is True)
            self._key_file = path
            if key.too_open:
                self.note(f"key file {path} can be read by others")
            self.owner = None if summary is None else self._owner(summary)
            return self.owner
        self._rest.key = None
        if strayed and self.pin is not None:
            raise AccountMismatch(f"no key reaches account {self.pin.account_id}: {'; '.join(strayed + refused)}")
        raise CredentialError("; ".join(refused) or "the profile names no key file")

    def _who_and_what(self) -> tuple[Row, Row | None]:
        """What the key may do, and the money behind it; the latter None when it could not be read."""
        reads = [partial(self._rest.get, path) for path in ("key_permissions", "cfm/balance_summary")]
        allowed, summary = self._world.at_once(reads)
        if isinstance(allowed, Exception):
            raise allowed
        return allowed, None if isinstance(summary, Exception) else summary

    def reaches_pin(self, owner: Owner) -> bool:
        return self.pin is None or owner.account_id == self.pin.account_id

    @property
    def key_id(self) -> str | None:
        """The key in use, as shown to people."""
        return self._rest.key.short_id if self._rest.key else None

    @property
    def key_scope(self) -> str | None:
        return self._scope

    @property
    def key_file(self) -> Path | None:
        return self._key_file

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def hang_up(self) -> None:
        self._rest.line.hang_up()

    def learn_market_clock(self) -> None:
        sent = self._world.wall_s()
        told = row_of(self._rest.get("time"), lambda row: int(rows.number(row["epochMillis"])))
        self._offset_ms = told - int((sent + self._world.wall_s()) * 500)

    def market_ms(self) -> int:
        return int(self._world.wall_s() * 1_000) + self._offset_ms

    # -- reads

    def account(self) -> Owner:
        """The money of the portfolio that `enter` found: a key is bound to one for life."""
        if self._portfolio is None:
            raise CredentialError("not signed in")
        return self._owner(self._rest.get("cfm/balance_summary"))

    def _owner(self, summary: Row) -> Owner:
        portfolio = self._portfolio or ""
        return row_of(summary, lambda row: row_of(row["balance_summary"], lambda it: rows.read_owner(portfolio, it)))

    def listing(self, *, quick: bool) -> Listing:
        """From both placement sources; what protects a position is marked so."""
        listed, held = side_by_side(self._world, partial(self._lists.live, quick=quick), self._positions)
        self._learn_products([*(str(row["product_id"]) for row in listed.rows), *(row["product_id"] for row in held)])
        orders = tuple(row_of(row, self._order) for row in listed.rows)
        positions = tuple(row_of(row, self._position) for row in held)
        contracts = {name: product.contract for name, product in self._products.items() if product.contract}
        marked = self._protection.marked(orders, positions)
        return Listing(marked, positions, listed.spot_orders, listed.complete, contracts)

    def _positions(self) -> tuple[Row, ...]:
        answer = self._rest.get("cfm/positions")
        return row_of(answer, lambda row: rows_of(row["positions"], lambda one: one))

    def _order(self, row: Row) -> Order:
        return rows.read_order(row, self.product(str(row["product_id"])))

    def _position(self, row: Row) -> Position:
        return rows.read_position(row, self.product(str(row["product_id"])))

    def states(self, orders: Sequence[Order]) -> Mapping[str, Order]:
        if len(orders) == 1:
            return self._state(orders[0].order_id)
        found: dict[str, Order] = {}
        for source, other in zip(SOURCES, ("mobile", "api"), strict=True):
            ids = [order.order_id for order in orders if order.origin != other]
            found |= {
                one.order_id: one for row in self._lists.by_ids(ids, source) for one in [row_of(row, self._order)]
            }
        return found

    def _state(self, order_id: str) -> Mapping[str, Order]:
        try:
            answer = self._rest.get(f"orders/historical/{order_id}")
        except Said as why:
            if why.meaning is Meaning.GONE:
                return {}
            raise
        return {order_id: row_of(answer, lambda row: row_of(row["order"], self._order))}

    def product(self, product_id: str) -> Product:
        """What a contract of it is, read once a kill."""
        if product_id not in self._products:
            self._products[product_id] = row_of(self._rest.get(f"products/{product_id}"), rows.read_product)
        return self._products[product_id]

    def _learn_products(self, names: Sequence[str]) -> None:
        unknown = [name for name in dict.fromkeys(names) if name not in self._products]
        for answer in few_at_a_time(self._world, [partial(self.product, name) for name in unknown]):
            if isinstance(answer, Exception):
                raise answer

    def ticker(self, product_id: str) -> Ticker:
        return self.book(product_id).ticker

    def book(self, product_id: str) -> Book:
        row, book = side_by_side(
            self._world, partial(self._rest.get, f"products/{product_id}"), partial(self.depth, product_id)
        )
        return book._replace(ticker=book.ticker._replace(state=row_of(row, rows.read_state)))

    def depth(self, product_id: str) -> Book:
        product, query = self.product(product_id), (("product_id", product_id), ("limit", BOOK_LEVELS))
        return row_of(self._rest.get("product_book", query), lambda it: rows.read_book(it, product))

    def shut(self, product_ids: Sequence[str]) -> tuple[Session, ...]:
        answers = few_at_a_time(self._world, [partial(self._session, name) for name in product_ids])
        found: list[Session] = []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            found += [] if answer is None else [answer]
        return tuple(found)

    def _session(self, product_id: str) -> Session | None:
        row = self._rest.get(f"products/{product_id}")
        return row_of(row, lambda it: rows.read_session(it, self.market_ms()))

    def labelled_fills(self, position: Position) -> tuple[LabelledFill, ...]:
        """Fills carry no identity here: the order of each is looked up in the product's listing."""
        product = self.product(position.product_id)
        fills = self._lists.fills((("product_ids", position.product_id),))
        names = {
            str(row["order_id"]): row.get("client_order_id") for row in self._lists.of_product(position.product_id)
        }
        read = [row_of(row, lambda it: rows.read_execution(it, product, None)).fill for row in fills]
        return tuple(
            LabelledFill(fill.trade_id, 0, fill.side.sign * fill.size, names.get(fill.order_id)) for fill in read
        )

    def executions(self, orders: Sequence[Order]) -> tuple[Execution, ...]:
        names = {order.order_id: order.identity for order in orders}
        found = self._lists.fills([("order_ids", order_id) for order_id in names])

        def read(row: Row) -> Execution:
            return rows.read_execution(row, self.product(str(row["product_id"])), names.get(str(row["order_id"])))

        return tuple(row_of(row, read) for row in found)

    def lately(self, since_ms: int) -> Lately:
        orders = self._lists.since(since_ms)
        self._learn_products([str(row["product_id"]) for row in orders])
        closes = tuple(order for order in (row_of(row, self._order) for row in orders) if _closes(order))
        fills = [row for row in self._lists.fills_since(since_ms) if self._is_future(str(row["product_id"]))]
        read = [
            row_of(row, lambda it: rows.read_execution(it, self.product(str(it["product_id"])), None)) for row in fills
        ]
        return Lately(closes, tuple(one.fill for one in read))

    def last_close(self, product_id: str) -> Order | None:
        found = (row_of(row, self._order) for row in self._lists.newest(product_id))
        return max(filter(_closes, found), key=lambda one: (one.created_ms, one.order_id), default=None)

    def _is_future(self, product_id: str) -> bool:
        """Fills do not say it of themselves."""
        if product_id not in self._products and product_id not in self._spot:
            row = self._rest.get(f"products/{product_id}")
            if row.get("product_type") == "FUTURE":
                self._products[product_id] = row_of(row, rows.read_product)
            else:
                self._spot.add(product_id)
        return product_id in self._products

    def find_close(self, close: Close, label: str) -> tuple[Order, tuple[Execution, ...]] | None:
        mine = [row for row in self._lists.newest(close.product_id) if row.get("client_order_id") == label]
        order = row_of(mine[0], self._order) if mine else None
        return (order, ()) if order is not None and order.status.is_terminal else None

    # -- writes: each sent once

    def cancel_entries(self, currencies: Sequence[str], seen: Sequence[Order]) -> list[int | Exception]:
        """There is no mass cancel here: `terms` say so."""
        return []

    def cancel(self, orders: Sequence[Order]) -> list[Exception | None]:
        """Asked for in batches; a smaller limit that the venue names is kept to at once."""
        said: dict[str, Exception | None] = {}
        wanted = list(dict.fromkeys(order.order_id for order in orders))
        while wanted:
            batch = wanted[: self._most_ids]
            try:
                said |= self._cancel_batch(batch)
            except Said as why:
                fewer = most_ids(why)
                if fewer is not None and fewer < self._most_ids:
                    self._most_ids = fewer
                    continue
                said |= dict.fromkeys(batch, why)
            except NoAnswer as why:
                said |= dict.fromkeys(batch, why)
            wanted = wanted[len(batch) :]
        return [said[order.order_id] for order in orders]

    def _cancel_batch(self, order_ids: Sequence[str]) -> dict[str, Exception | None]:
        answer = self._rest.post("orders/batch_cancel", {"order_ids": list(order_ids)})
        found = row_of(answer, lambda row: dict(rows_of(row["results"], _cancelled)))
        silent = NoAnswer("the answer does not speak of this order", sent=True)
        return {order_id: found.get(order_id, silent) for order_id in order_ids}

    def close(self, close: Close, label: str) -> tuple[Order, tuple[Execution, ...]]:
        """The venue's own close, of so many contracts: it picks the side, and takes no more than is held then.

        Sent again under the same identity it is the same order. Raises NoAnswer as long as its end cannot be read.
        """
        product = self.product(close.product_id)
        assert close.size is not None
        assert product.contract is not None
        body = {
            "client_order_id": label,
            "product_id": close.product_id,
            "size": plain((close.size / product.contract).to_integral_value()),
        }
        return self._ended(self._entered("orders/close_position", body), label), ()

    def put_stop(self, stop: Order, size: Decimal, label: str) -> None:
        product = self.product(stop.product_id)
        assert product.contract is not None
        assert stop.price is not None
        assert stop.trigger_price is not None
        terms = {
            "base_size": plain((size / product.contract).to_integral_value()),
            "limit_price": plain(stop.price),
            "stop_price": plain(stop.trigger_price),
            "stop_direction": f"STOP_DIRECTION_STOP_{'UP' if stop.side is Side.BUY else 'DOWN'}",
        }
        body = {
            "client_order_id": label,
            "product_id": stop.product_id,
            "side": stop.side.value,
            "order_configuration": {"stop_limit_stop_limit_gtc": terms},
        }
        self._entered("orders", body)

    def _entered(self, path: str, body: Mapping[str, object]) -> str:
        """The id of the order that now exists under this identity. Raises Said, NoAnswer."""
        answer = self._rest.post(path, body)
        if answer.get("success") is not True:
            reason = rows.reason_of(answer)
            raise Said(reason, "", _MEANINGS.get(reason, Meaning.OTHER))
        return row_of(answer, lambda row: row_of(row["success_response"], lambda it: str(it["order_id"])))

    def _ended(self, order_id: str, label: str) -> Order:
        cause = f"order {order_id} was accepted, and its end cannot be read yet"
        for pause_s in READ_BACK_S:
            self._world.sleep(pause_s)
            try:
                order = row_of(self._rest.get(f"orders/historical/{order_id}"), lambda row: self._order(row["order"]))
            except (NoAnswer, Said) as why:
                cause = f"order {order_id} was accepted and cannot be read: {why}"
                continue
            if order.identity != label:
                raise NoAnswer(f"order {order_id} bears another identity than the close that was sent", sent=True)
            if order.status.is_terminal:
                return order
        raise NoAnswer(cause, sent=True)


def _closes(order: Order) -> bool:
    """Whether it is a kill's close, and no stop that one put back."""
    return identity.is_kill(order.identity) and order.type is OrderType.MARKET


def _cancelled(row: Row) -> tuple[str, Said | None]:
    """Success means that the request was accepted, and still carries a reason."""
    if row.get("success") is True:
        return str(row["order_id"]), None
    reason = str(row["failure_reason"])
    return str(row["order_id"]), Said(reason, "", _MEANINGS.get(reason, Meaning.OTHER))
