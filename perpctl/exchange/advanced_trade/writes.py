"""This file sends orders, cancels and closes to Advanced Trade, and turns what came of each into an outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from perpctl.errors import CredentialError, PerpctlError
from perpctl.exchange.advanced_trade import orders
from perpctl.exchange.advanced_trade.closing import Closing, InFlight, Seen
from perpctl.exchange.advanced_trade.errors import ENDED, PRICE_BAND, HttpFailure, Kind, allowed_ids, code_of, refusal
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.lists import Lists
from perpctl.exchange.advanced_trade.orders import Draft, Unsendable
from perpctl.exchange.advanced_trade.rest import Gate, Rest, Write, working_for
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.both.document import Row, row_of, rows_of, text
from perpctl.exchange.both.persisting import persist
from perpctl.exchange.budget import Duty
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.passing import noted
from perpctl.exchange.port import Confirmed, MaySend, Outcome, Refused, Unknown, Unsupported
from perpctl.model.fill import Fill
from perpctl.model.instrument import Book
from perpctl.model.order import Order, OrderRequest, OrderType, Purpose, Side, TimeInForce
from perpctl.model.position import Position

CREATE_S, CANCEL_S = 5.0, 3.0  # total deadlines
REPEAT_WITHIN_S = 2.0  # the same id creates the order now if the first never arrived: only while that is still wanted
BOOK_LEVELS = 100
MOST_IDS = 100  # changelog of 16 January 2024; the venue may lower it, and then says to how many
READ_BACK_S = (0.0, 0.1, 0.2, 0.4, 0.8)  # a new order can be unknown to reads for a moment (seen)
CLOSE_ROUNDS = 50
_EXITS = frozenset({Purpose.REDUCE, Purpose.CLOSE, Purpose.KILL, Purpose.STOP})


class Reads(Protocol):
    """What a write must look at first."""

    async def now_ms(self) -> int: ...
    async def positions(self) -> tuple[Position, ...]: ...
    async def book(self, product_id: str, depth: int = 20) -> Book: ...
    async def open_orders(self) -> tuple[Order, ...]: ...


class Writes:
    """Whatever acts, for one key."""

    def __init__(self, rest: Rest, listing: Listing, lists: Lists, reads: Reads, may_send: MaySend | None) -> None:
        self._rest = rest
        self._listing = listing
        self._lists = lists
        self._reads = reads
        self._may_send = may_send
        self._closing = Closing(rest.clock)
        self._most_ids = MOST_IDS

    # --- orders ------------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest) -> Outcome:
        """Send the order once, and within 2 s once more if `may_send` still allows it: it is asked last for entries."""
        with working_for(_duty_of(request)), noted() as passages:
            outcome = await self._sent(request)
        return replace(outcome, passages=tuple(passages))

    async def _sent(self, request: OrderRequest) -> Outcome:
        try:
            orders.check(request)
            unit = await self._listing.unit(request.product_id)
            contracts = orders.contracts_in(request, unit)
            if request.reduce_only and orders.ends_at_once(request):
                with self._closing.one_at_a_time(request.product_id):
                    return await self._close(request, contracts, unit)
            if request.reduce_only:
                contracts = await self._capped(request, contracts, unit)
            return await self._place(request, await self._bounded(request, contracts, unit), unit)
        except (Unsendable, InFlight) as why:
            return Refused(None, str(why), sent=False)
        except CredentialError:
            raise
        except PerpctlError as why:
            return Refused(None, f"not sent: {why}", sent=False)

    async def _capped(self, request: OrderRequest, contracts: Decimal, unit: Contract) -> Decimal:
        """What rests to reduce, a stop or a limit, is never larger than what is held. Raises Unsendable."""
        held = await self._held(request.product_id, unit)
        mine = held if request.side is Side.SELL else -held
        if mine < contracts:
            raise Unsendable(f"{max(mine, Decimal(0)):f} contracts are held on that side, fewer than {contracts:f}")
        return contracts

    async def _bounded(self, request: OrderRequest, contracts: Decimal, unit: Contract) -> Decimal:
        """There is no limit order here that ends at once: at market, no more than stands within the limit."""
        if request.type is not OrderType.LIMIT or request.time_in_force is not TimeInForce.IOC:
            return contracts
        assert request.price is not None
        book = await self._reads.book(request.product_id, BOOK_LEVELS)
        within = orders.standing_within(book, request.side, request.price, unit)
        if within < 1:
            raise Unsendable(f"nothing stands within {request.price:f} in the book now")
        return min(contracts, within)

    async def _held(self, product_id: str, unit: Contract) -> Decimal:
        """Signed contracts, by a fresh read."""
        found = next((one for one in await self._reads.positions() if one.product_id == product_id), None)
        return Decimal(0) if found is None else found.size / unit.size

    async def _close(self, request: OrderRequest, contracts: Decimal, unit: Contract) -> Outcome:
        """An order that may only reduce, cut to what there is to close; its fate is known before the next one goes."""
        await self._settle_last(request.product_id, unit)
        held = await self._held(request.product_id, unit)
        cap = self._closing.cap(request.product_id, request.side, held) - await self._resting(request, unit)
        size = await self._bounded(request, min(contracts, cap), unit) if cap >= 1 else cap
        if size < 1:
            raise Unsendable(f"nothing of {request.product_id} is left to close by this side; what rests there counts")
        self._closing.sent(request.product_id, request.identity)
        outcome = await self._place(request, size, unit)
        match outcome:
            case Confirmed(order, _) if order.status.is_terminal:
                self._closing.ended(request.product_id, order.filled / unit.size)
            case Refused():
                self._closing.ended(request.product_id, Decimal(0))
        return outcome

    async def _resting(self, request: OrderRequest, unit: Contract) -> Decimal:
        """Contracts of plain orders that rest on the closing side: beside them a close of all could turn it around.

        When they cannot be listed the close still goes: the position alone bounds it.
        """
        try:
            standing = await self._lists.open_orders()
        except PerpctlError:
            return Decimal(0)
        place = (request.product_id, request.side, False)
        mine = (one.remaining for one in standing if (one.product_id, one.side, one.is_trigger) == place)
        return sum(mine, Decimal(0)) / unit.size

    async def _settle_last(self, product_id: str, unit: Contract) -> None:
        """Raises InFlight while the last close of a product works, or may still arrive."""
        identity = self._closing.unsettled(product_id)
        if identity is None:
            return
        found = await self._lists.by_identity(identity, await self._reads.now_ms())
        if not found:
            raise InFlight(f"the last close of {product_id} ({identity}) got no answer and may still arrive")
        if not found[0].status.is_terminal:
            raise InFlight(f"the last close of {product_id} (order {found[0].order_id}) still works")
        self._closing.ended(product_id, found[0].filled / unit.size)

    async def _place(self, request: OrderRequest, contracts: Decimal, unit: Contract) -> Outcome:
        draft = orders.draft(_as_sent(request), contracts, unit, await self._reads.now_ms())
        write = self._write_of(draft, request)
        began = self._rest.clock.monotonic()
        outcome = await self._attempt(write, draft, unit)
        bounded = draft.request.price is not None  # at market the second might trade where the first would not
        if isinstance(outcome, Unknown) and write.gate is not None and bounded and self._is_soon(began):
            return await self._attempt(write, draft, unit)
        return outcome

    def _is_soon(self, began: float) -> bool:
        return self._rest.clock.monotonic() - began < REPEAT_WITHIN_S

    def _write_of(self, draft: Draft, request: OrderRequest) -> Write:
        """`request` is the order as it was decided on: a limit that goes out at market is judged by its limit."""
        may_send, duty = self._may_send, _duty_of(request)
        gate: Gate | None = None if may_send is None or request.reduce_only else lambda: may_send(request)
        if request.reduce_only and draft.request.type is OrderType.MARKET:
            return Write("/orders/close_position", draft.closing_body, CREATE_S, duty)
        return Write("/orders", draft.body, CREATE_S, duty, gate)

    async def _attempt(self, write: Write, draft: Draft, unit: Contract) -> Outcome:
        try:
            answer = await self._rest.act(write)
            if answer.get("success") is not True:
                return _refused(answer)
            order_id = text(row_of(answer.get("success_response"), "success_response"), "order_id")
        except (NotSent, NoAnswer, HttpFailure) as why:
            return _failed(why)
        return await self._read_back(order_id, draft, unit)

    async def _read_back(self, order_id: str, draft: Draft, unit: Contract) -> Outcome:
        """The order behind an answer, if it is the one asked for. An answer alone proves no state."""
        cause = f"order {order_id} was accepted and cannot be read yet"
        for pause_s in READ_BACK_S:
            await self._rest.clock.sleep(pause_s)
            try:
                order = await self._lists.by_id(order_id)
            except PerpctlError as why:
                cause = f"order {order_id} was accepted and could not be read: {why}"
                continue
            if order is None or (orders.ends_at_once(draft.request) and not order.status.is_terminal):
                continue
            sent = unit.coin(draft.contracts)
            if not orders.is_the_one(order, draft.request, sent):
                return Unknown(f"the venue answered with another order, {order_id}, under this id: not adopted")
            return Confirmed(_flagged(order, draft.request), await self._fills_of(order))
        return Unknown(cause)

    async def _fills_of(self, order: Order) -> tuple[Fill, ...]:
        """What is told of its fills so far; the rest is booked when it is read."""
        if order.filled == 0:
            return ()
        try:
            return await self._lists.fills(0, {"order_ids": [order.order_id]})
        except PerpctlError:
            return ()

    # --- cancels -----------------------------------------------------------------------------------------------------

    async def cancel(self, doomed: Sequence[Order]) -> tuple[Outcome, ...]:
        """Ask for all in batches, then read each by its id: that a request was accepted cancels nothing."""
        with working_for(Duty.EXIT), noted() as passages:
            outcomes = await self._cancelled(doomed)
        return tuple(replace(one, passages=tuple(passages)) for one in outcomes)  # the batches that they went in

    async def _cancelled(self, doomed: Sequence[Order]) -> tuple[Outcome, ...]:
        wanted = list(dict.fromkeys(order.order_id for order in doomed if order.order_id))
        said: dict[str, str | Refused | Unknown] = {}
        while wanted:
            batch, most = wanted[: self._most_ids], self._most_ids
            answers = await self._cancel_batch(batch)
            if self._most_ids < most:
                continue  # the venue takes fewer now: the same ids again, in smaller batches
            said |= answers
            wanted = wanted[len(batch) :]
        ends = await self._ends_of([order for order in doomed if not isinstance(said.get(order.order_id), Refused)])
        return tuple(_cancelled(order, said.get(order.order_id), ends.get(order.order_id)) for order in doomed)

    async def _cancel_batch(self, order_ids: Sequence[str]) -> dict[str, str | Refused | Unknown]:
        """By id: the venue's reason ("" when it accepted), or what happened to the whole request."""
        write = Write("/orders/batch_cancel", {"order_ids": list(order_ids)}, CANCEL_S, Duty.EXIT)
        try:
            answer = await persist(lambda: self._rest.act(write), _may_pass, self._rest.clock)
            rows = rows_of(answer.get("results"), "results")
            found = {text(row, "order_id"): "" if row.get("success") is True else _reason(row) for row in rows}
            return {one: found.get(one, Unknown("the answer does not speak of this order")) for one in order_ids}
        except HttpFailure as why:
            fewer = allowed_ids(why)
            if fewer is not None and fewer < self._most_ids:
                self._most_ids = fewer
            return dict.fromkeys(order_ids, _failed(why))
        except (NotSent, NoAnswer) as why:
            return dict.fromkeys(order_ids, _failed(why))

    async def _ends_of(self, doomed: Sequence[Order]) -> dict[str, Order]:
        """How these stand, read until all are terminal or a second and a half is over."""
        ids = list(dict.fromkeys(order.order_id for order in doomed if order.order_id))
        found: dict[str, Order] = {}
        for pause_s in READ_BACK_S if ids else ():
            await self._rest.clock.sleep(pause_s)
            left = [one for one in ids if one not in found or not found[one].status.is_terminal]
            if not left:
                break
            try:
                found |= await self._lists.by_ids(left)
            except PerpctlError:
                continue  # asked again; whoever cancels lists afterwards anyway
        return found

    async def cancel_entries(self, product_id: str | None) -> Outcome | Unsupported | int:
        """Every plain order that rests, of one product or all; the count is of those that are gone."""
        try:
            with working_for(Duty.EXIT):
                standing = await self._reads.open_orders()
        except CredentialError:
            raise
        except PerpctlError as why:
            return Unknown(f"the orders could not be listed: {why}")
        doomed = [one for one in standing if not one.is_trigger and product_id in (None, one.product_id)]
        outcomes = await self.cancel(doomed)
        lost = next((one for one in outcomes if isinstance(one, Unknown)), None)
        return lost or sum(isinstance(one, Confirmed) for one in outcomes)

    # --- closes ------------------------------------------------------------------------------------------------------

    async def close(self, position: Position, limit_price: Decimal | None) -> Outcome:
        """Close the whole position with an identity made from what is seen of it."""
        side = Side.SELL if position.size > 0 else Side.BUY
        try:
            with working_for(Duty.EXIT):
                unit = await self._listing.unit(position.product_id)
                identity = await self._close_identity(position, side, unit)
        except InFlight as why:
            return Refused(None, str(why), sent=False)
        except CredentialError:
            raise
        except PerpctlError as why:
            return Refused(None, f"not sent: {why}", sent=False)
        request = OrderRequest(
            identity=identity,
            product_id=position.product_id,
            side=side,
            size=abs(position.size),
            type=OrderType.MARKET if limit_price is None else OrderType.LIMIT,
            price=limit_price,
            time_in_force=TimeInForce.IOC,
            reduce_only=True,
            purpose=Purpose.CLOSE,
        )
        return await self.place(request)

    async def _close_identity(self, position: Position, side: Side, unit: Contract) -> str:
        """The first identity of this state that no ended order has. Raises InFlight when a close of it works."""
        account = await self._rest.read("/key_permissions", {}, lambda row: text(row, "portfolio_uuid"))
        last = await self._lists.last_fill(position.product_id)
        seen = Seen(account, position.product_id, side, abs(position.size) / unit.size, last)
        now_ms = await self._reads.now_ms()
        for round_no in range(CLOSE_ROUNDS):
            identity = seen.identity(round_no)
            found = await self._lists.by_identity(identity, now_ms)
            if not found:
                return identity
            if not found[0].status.is_terminal:
                raise InFlight(f"a close of {position.product_id} from this state works already: {found[0].order_id}")
        raise InFlight(f"{CLOSE_ROUNDS} closes of {position.product_id} ended without changing it")


def _may_pass(why: Exception) -> bool:
    """Whether the venue may answer otherwise in a moment."""
    return isinstance(why, HttpFailure) and why.kind in (Kind.UNCERTAIN, Kind.THROTTLED)


def _duty_of(request: OrderRequest) -> Duty:
    return Duty.EXIT if request.reduce_only or request.purpose in _EXITS else Duty.STRATEGY


def _as_sent(request: OrderRequest) -> OrderRequest:
    """A limit that ends at once goes out at market: its limit has already cut its size."""
    if request.type is OrderType.LIMIT and request.time_in_force is TimeInForce.IOC:
        return replace(request, type=OrderType.MARKET, price=None)
    return request


def _flagged(order: Order, request: OrderRequest) -> Order:
    """An order that we sent to reduce is known to: the venue cannot say so."""
    return replace(order, reduce_only=request.reduce_only)


def _refused(answer: Row) -> Outcome:
    if answer.get("success") is not False:
        return Unknown("the answer says neither yes nor no")
    reason = refusal(answer)
    return Refused(None, reason, outside_band=code_of(reason) in PRICE_BAND)


def _reason(row: Row) -> str:
    return str(row.get("failure_reason") or "UNKNOWN_CANCEL_FAILURE_REASON")


def _failed(why: NotSent | NoAnswer | HttpFailure) -> Refused | Unknown:
    """What a failed attempt proves."""
    if isinstance(why, NotSent):
        return Refused(None, f"not sent: {why}", sent=False)
    if isinstance(why, NoAnswer):
        return Unknown(str(why))
    if why.kind is Kind.UNCERTAIN:
        return Unknown(f"the venue answered {why.status} {why.said}".rstrip())
    return Refused(why.status, why.said or f"HTTP {why.status}")


def _cancelled(order: Order, said: str | Refused | Unknown | None, now: Order | None) -> Outcome:
    """What became of a cancel: by the order's own state, which says more than any answer."""
    if now is not None and now.status.is_terminal:
        return Confirmed(now)
    if isinstance(said, Refused | Unknown):
        return said
    if said is None:
        return Refused(None, "an order without an id cannot be cancelled", sent=False)
    if said == "":
        return Unknown(f"the cancel of {order.order_id} was accepted, and it is not read as ended yet")
    if code_of(said) in ENDED:
        return Unknown(f"the venue says {said}, and the order is not read as ended")
    return Refused(None, said)
