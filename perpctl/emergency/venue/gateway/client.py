"""This file speaks the dozen gateway calls that a kill needs: JSON-RPC over HTTP, numbers exact both ways.

Nothing is re-sent here and nothing is cached; an error is never an empty list.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from perpctl.emergency.target import Pin
from perpctl.emergency.venue import terms
from perpctl.emergency.venue.dates import http_date
from perpctl.emergency.venue.document import number, row_of, rows_of
from perpctl.emergency.venue.gateway import rows
from perpctl.emergency.venue.port import (
    Book,
    Execution,
    LabelledFill,
    Listing,
    Meaning,
    Owner,
    Product,
    Said,
    Session,
    Ticker,
)
from perpctl.emergency.venue.signing import Key, make_token, read_key
from perpctl.emergency.venue.wire import HttpAnswer, Line, NoAnswer
from perpctl.emergency.world import ThisMachine, World, few_at_a_time, side_by_side
from perpctl.errors import AccountMismatch, CredentialError
from perpctl.model.flatten import Close
from perpctl.model.order import Order, Side
from perpctl.model.position import Position

CALL_S = 2.0
AUTH_S = 3.0
VALID_MS = 3_000
FILL_PAGES = 20
_SIGN_IN_ANEW = frozenset({10000, 13004, 13009})
_MEANINGS = {
    **dict.fromkeys((10028, 10047, 10066), Meaning.THROTTLED),
    **dict.fromkeys((10004, 10010, 11008, 11044), Meaning.GONE),
    **dict.fromkeys((10002, 10021, 10022, 10027), Meaning.SIZE),
    **dict.fromkeys((11042, 13021, 13403), Meaning.MAY_NOT),
    11098: Meaning.LOCKED,
}
_OUTCOME_UNKNOWN = frozenset({10001, 11031, 11094, 13008, 13028, -32603})  # Deribit docs, error codes


@dataclass(slots=True)
class _SignedIn:
    """An access token and the key it came from."""

    key: Key
    token: str
    path: Path
    scope: str | None


class Gateway:
    """One account at the gateway, entered with the first of several keys that reaches the pinned account."""

    terms = terms.GLOBAL

    def __init__(
        self,
        wire: Line,
        key_files: Sequence[Path],
        pin: Pin | None,
        key_name: str | None = None,
        world: World | None = None,
    ) -> None:
        self.wire = wire
        self._world = world or ThisMachine()
        self.pin = pin
        self.owner: Owner | None = None
        self.notes: list[str] = []  # what an operator should know of the keys, once each
        self.market_offset_ms = 0  # the venue's own clock less ours
        self._wall_offset_s = 0.0  # its HTTP clock less ours, for signatures
        self._key_files = tuple(dict.fromkeys(key_files))
        self._key_name = key_name  # of a key file that is a bare PEM
        self._signed_in: _SignedIn | None = None
        self._lock = threading.Lock()
        self._products: dict[str, Product] = {}

    # -- signing in

    def enter(self) -> Owner | None:
        """Sign in with the first key that reaches the pinned account; None: signed in, account not yet readable.

        Raises NoAnswer, AccountMismatch when every key that works reaches another account, else CredentialError.
        """
        refused: list[str] = []
        strayed: list[str] = []
        for path in self._key_files:
            try:
                key = read_key(path, self._key_name)
                self._sign_in(key, path)
            except (CredentialError, Said) as why:
                refused.append(f"{path.name}: {why}")
                continue
            try:
                owner = self.account()
            except (NoAnswer, Said):
                return None
            if self.reaches_pin(owner):
                self.owner = owner
                if key.too_open:
                    self.note(f"key file {path} can be read by others")
                return owner
            strayed.append(f"{key.short_id} reaches account {owner.account_id}")
            self._signed_in = None
        if strayed and self.pin is not None:
            raise AccountMismatch(f"no key reaches account {self.pin.account_id}: {'; '.join(strayed + refused)}")
        raise CredentialError("; ".join(refused) or "the profile names no key file")

    def reaches_pin(self, owner: Owner) -> bool:
        """Whether this is the pinned account, by id and by username where both are known."""
        if self.pin is None:
            return True
        names = (self.pin.username, owner.username)
        return owner.account_id == self.pin.account_id and (None in names or names[0] == names[1])

    @property
    def key_id(self) -> str | None:
        """The key in use, as shown to people."""
        return self._signed_in.key.short_id if self._signed_in else None

    @property
    def key_scope(self) -> str | None:
        """What the venue says that the key may do, in its own words."""
        return self._signed_in.scope if self._signed_in else None

    @property
    def key_file(self) -> Path | None:
        return self._signed_in.path if self._signed_in else None

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def hang_up(self) -> None:
        self.wire.hang_up()

    def _sign_in(self, key: Key, path: Path) -> None:
        """A new token; once more with the venue's clock when ours may be what it refuses. Raises Said, NoAnswer."""
        for attempt in (1, 2):
            body = {"grant_type": "coinbase_cdp", "token": make_token(key, self._world.wall_s() + self._wall_offset_s)}
            try:
                result = self._send("public/auth", body, None, AUTH_S)
                token = result.get("access_token") if isinstance(result, dict) else None
                if not isinstance(token, str):
                    raise NoAnswer("public/auth sent no token", sent=True)
                scope = result.get("scope")
                self._signed_in = _SignedIn(key, token, path, scope if isinstance(scope, str) else None)
                return
            except Said as why:
                if attempt == 2 or why.code not in _SIGN_IN_ANEW:
                    raise

    # -- the wire

    def call(self, method: str, params: Mapping[str, Any], seconds: float = CALL_S) -> Any:
        """The result of one call. A refused token is exchanged and the call repeated once: it was not executed.

        Raises Said when the venue refused, NoAnswer for everything that proves nothing, CredentialError.
        """
        held = self._signed_in
        if held is None and method.startswith("private/"):
            raise CredentialError("not signed in")
        try:
            return self._send(method, params, held.token if held else None, seconds)
        except Said as why:
            if why.throttled:
                self.hang_up()  # the venue ends the session with the refusal
            if why.code not in _SIGN_IN_ANEW or held is None:
                raise
        with self._lock:
            if self._signed_in is held:
                self._sign_in(held.key, held.path)
        return self._send(method, params, self._signed_in.token if self._signed_in else None, seconds)

    def _send(self, method: str, params: Mapping[str, Any], token: str | None, seconds: float) -> Any:
        body = encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self.wire.post(method, body, headers, seconds)
        self._learn_clock(answer)
        try:
            message = json.loads(answer.body, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise NoAnswer(f"HTTP {answer.status} that is not the API", sent=True) from None
        if not isinstance(message, dict):
            raise NoAnswer(f"HTTP {answer.status} that is not JSON-RPC", sent=True)
        if isinstance(error := message.get("error"), dict):
            raise _refusal(error)
        if "result" not in message or answer.status >= 400:
            raise NoAnswer(f"HTTP {answer.status} without a result", sent=True)
        return message["result"]

    def _learn_clock(self, answer: HttpAnswer) -> None:
        """Signatures are checked against the clock of the HTTP Date header; whole seconds, so small means none."""
        try:
            offset = http_date(answer.headers["date"]) - self._world.wall_s()
        except (KeyError, ValueError, IndexError):
            return
        self._wall_offset_s = offset if abs(offset) > 2 else 0.0

    # -- reads

    def learn_market_clock(self) -> None:
        """Measure the venue's own clock, which `valid_until` is checked against."""
        sent = self._world.wall_s()
        result = self.call("public/get_time", {})
        self.market_offset_ms = int(number(result)) - int((sent + self._world.wall_s()) * 500)

    def market_ms(self) -> int:
        return int(self._world.wall_s() * 1_000) + self.market_offset_ms

    def account(self) -> Owner:
        result = self.call("private/get_account_summaries", {"include_isolated": True, "extended": True})
        return row_of(result, rows.read_owner)

    def listing(self, *, quick: bool) -> Listing:
        """Every open order and every position, slots and triggers included; spot orders only counted."""
        orders, positions = side_by_side(self._world, self.open_orders, self.positions)
        ours = tuple(order for order in orders if is_derivative(order.product_id))
        held = tuple(position for position in positions if is_derivative(position.product_id))
        return Listing(ours, held, len(orders) - len(ours))

    def open_orders(self) -> tuple[Order, ...]:
        """Every open order of the account, slots and triggers included; spot as well, for the caller to leave out."""
        return rows_of(self.call("private/get_open_orders", {"include_isolated": True}), rows.read_order)

    def positions(self) -> tuple[Position, ...]:
        """Every position row, zeros included."""
        result = self.call("private/get_positions", {"currency": "any", "include_isolated": True})
        return rows_of(result, rows.read_position)

    def states(self, orders: Sequence[Order]) -> Mapping[str, Order]:
        """How these stand by their own ids; one that the venue says no to is left out. Raises NoAnswer."""
        answers = few_at_a_time(
            self._world, [partial(self.order, one.order_id, one.slot is not None) for one in orders]
        )
        found: dict[str, Order] = {}
        for answer in answers:
            if isinstance(answer, Order):
                found[answer.order_id] = answer
            elif not isinstance(answer, Said) or answer.throttled:
                raise answer
        return found

    def order(self, order_id: str, isolated: bool) -> Order:
        result = self.call("private/get_order_state", _with_slot({"order_id": order_id}, isolated))
        return row_of(result, rows.read_order)

    def find_close(self, close: Close, label: str) -> tuple[Order, tuple[Execution, ...]] | None:
        """The close with this label and its fills; None: the venue shows none."""
        params = {"currency": currency_of(close.product_id), "label": label, "include_isolated": True}
        found = rows_of(self.call("private/get_order_state_by_label", params), rows.read_order)
        return (found[0], self.trades(found[0].order_id, close.slot is not None)) if found else None

    def trades(self, order_id: str, isolated: bool) -> tuple[Execution, ...]:
        result = self.call("private/get_user_trades_by_order", _with_slot({"order_id": order_id}, isolated))
        return rows_of(result, rows.read_execution)

    def labelled_fills(self, position: Position) -> tuple[LabelledFill, ...]:
        """Every fill of a product in a slot, from the archive and from recent memory, each once.

        Raises NoAnswer when there are more than can be read: half of them prove nothing.
        """
        found: dict[str, LabelledFill] = {}
        for historical in (True, False):
            after = 0
            for _ in range(FILL_PAGES):
                page, more = self._fill_page(position, historical, after)
                found.update({fill.trade_id: fill for fill in page})
                if not more or not page:
                    break
                after = max(fill.seq for fill in page) + 1
            else:
                raise NoAnswer(f"more than {FILL_PAGES} pages of fills in {position.product_id}", sent=True)
        return tuple(found.values())

    def _fill_page(self, position: Position, historical: bool, after: int) -> tuple[tuple[LabelledFill, ...], bool]:
        params = {"instrument_name": position.product_id, "count": 1000, "sorting": "asc", "start_seq": after}
        if position.slot is not None:
            params["subaccount_id"] = position.slot
        result = self.call("private/get_user_trades_by_instrument", {**params, "historical": historical})
        page = row_of(result, lambda row: rows_of(row["trades"], rows.read_labelled_fill))
        return page, row_of(result, lambda row: row["has_more"] is True)

    def ticker(self, product_id: str) -> Ticker:
        return row_of(self.call("public/ticker", {"instrument_name": product_id}), rows.read_ticker)

    def book(self, product_id: str) -> Book:
        result = self.call("public/get_order_book", {"instrument_name": product_id, "depth": 1000})
        return row_of(result, rows.read_book)

    def product(self, product_id: str) -> Product:
        """The product's specification, read once a kill."""
        if product_id not in self._products:
            result = self.call("public/get_instrument", {"instrument_name": product_id})
            self._products[product_id] = row_of(result, rows.read_product)
        return self._products[product_id]

    def shut(self, product_ids: Sequence[str]) -> tuple[Session, ...]:
        """No session ever closes here; a book that takes nothing says so in its state."""
        return ()

    # -- writes: each sent once

    def cancel_entries(self, currencies: Sequence[str], seen: Sequence[Order]) -> list[int | Exception]:
        """One mass cancel of limit orders a currency; triggers, and so the stops, stay. The counts prove nothing."""
        wanted = dict.fromkeys([*currencies, *(currency_of(order.product_id) for order in seen)])
        return self._world.at_once([partial(self._cancel_limits, currency) for currency in wanted])

    def _cancel_limits(self, currency: str) -> int:
        params = {"currency": currency, "kind": "future", "type": "limit", "include_isolated": True}
        count = self.call("private/cancel_all_by_currency", params)
        return count if isinstance(count, int) and not isinstance(count, bool) else 0

    def cancel(self, orders: Sequence[Order]) -> list[Exception | None]:
        return few_at_a_time(self._world, [partial(self._cancel, order) for order in orders])

    def _cancel(self, order: Order) -> None:
        self.call("private/cancel", _with_slot({"order_id": order.order_id}, order.slot is not None))

    def close(self, close: Close, label: str) -> tuple[Order, tuple[Execution, ...]]:
        """One reduce-only close: a limit order for now or never, a market order, or the venue's own whole close."""
        isolated = close.slot is not None
        if close.size is None:
            params: dict[str, Any] = {"instrument_name": close.product_id, "type": "market"}
            result = self.call("private/close_position", _with_slot(params, isolated))
        else:
            params = {
                "instrument_name": close.product_id,
                "amount": close.size,
                "type": "market" if close.price is None else "limit",
                "reduce_only": True,
                "post_only": False,
                "label": label,
                "valid_until": self.market_ms() + VALID_MS,
            }
            if close.price is not None:
                params |= {"price": close.price, "time_in_force": "immediate_or_cancel"}
            method = "private/buy" if close.side is Side.BUY else "private/sell"
            result = self.call(method, _with_slot(params, isolated))
        order = row_of(result, lambda row: row_of(row["order"], rows.read_order))
        return order, row_of(result, lambda row: rows_of(row.get("trades", []), rows.read_execution))


def encode(value: object) -> str:
    """JSON with exact numbers: a Decimal is written in full, without exponent."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(name))}:{encode(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(encode(item) for item in value) + "]"
    return json.dumps(value)


def _with_slot(params: dict[str, Any], isolated: bool) -> dict[str, Any]:
    """Single-order calls are routed to the isolated slot by a flag, and must not carry it otherwise."""
    return {**params, "isolated": True} if isolated else params


def _refusal(error: Mapping[str, Any]) -> Said | NoAnswer:
    code, message = error.get("code"), str(error.get("message", ""))
    if not isinstance(code, int):
        return NoAnswer(f"an error without a code: {message}", sent=True)
    if code in _OUTCOME_UNKNOWN:
        return NoAnswer(f"{code} {message}", sent=True)
    return Said(code, message, _MEANINGS.get(code, Meaning.OTHER))


def is_derivative(product_id: str) -> bool:
    """Spot is never touched: a spot pair has no dash after the currencies (BTC_USDC), every derivative has."""
    return "-" in product_id


def currency_of(product_id: str) -> str:
    """The settlement currency: USDC of BTC_USDC-PERPETUAL, BTC of BTC-PERPETUAL."""
    pair = product_id.split("-")[0]
    return pair.split("_")[-1] or rows.SETTLEMENT_CURRENCY
