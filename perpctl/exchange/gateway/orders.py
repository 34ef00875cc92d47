"""This file turns an order of ours into a call, and what came of the call into one of three outcomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from perpctl.clock import Clock
from perpctl.exchange.both.persisting import persist
from perpctl.exchange.budget import Duty
from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.errors import NOT_OPEN, ORDER_NOT_FOUND, Kind, RpcFailure
from perpctl.exchange.gateway.rpc import Gate, Param
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.passing import noted
from perpctl.exchange.port import Confirmed, MaySend, Outcome, Refused, Unknown
from perpctl.model.order import NEW_SLOT, TRIGGER_TYPES, Order, OrderRequest, OrderType, Purpose, Side, TimeInForce

CREATE_S = 5.0  # total deadlines
CANCEL_S = 3.0
_EXITS = frozenset({Purpose.REDUCE, Purpose.CLOSE, Purpose.KILL})
_PRICED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_LIMIT})


class Act(Protocol):
    """One attempt at a call that acts, whatever carries it; raises NotSent, NoAnswer, RpcFailure."""

    async def __call__(
        self, method: str, params: Mapping[str, Param], deadline_s: float, duty: Duty, gate: Gate | None = None
    ) -> Any: ...


async def place(act: Act, request: OrderRequest, valid_until_ms: int, may_send: MaySend | None) -> Outcome:
    """Send the order once. `may_send` is asked last, unless the order can only reduce."""
    if (reason := unsendable(request)) is not None:
        return Refused(None, reason, sent=False)
    method = "private/buy" if request.side is Side.BUY else "private/sell"
    duty = Duty.EXIT if request.reduce_only or request.purpose in _EXITS else Duty.STRATEGY
    gate = None if may_send is None or request.reduce_only else lambda: may_send(request)

    async def attempt() -> Outcome:
        result = await act(method, order_params(request, valid_until_ms), CREATE_S, duty, gate)
        return _answered(result, request)

    return await outcome_of(attempt, valid_until_ms)


def unsendable(request: OrderRequest) -> str | None:
    """Why the gateway has no such order; None when it has."""
    if request.time_in_force is TimeInForce.GTD:
        return "this venue has no orders that end at a given time"
    if request.type in (OrderType.TRAILING_STOP, OrderType.OTHER):
        return f"orders of type {request.type.value} cannot be sent to this venue"
    if request.type in _PRICED and request.price is None:
        return f"an order of type {request.type.value} needs a price"
    if request.type in TRIGGER_TYPES and request.trigger_price is None:
        return f"an order of type {request.type.value} needs a trigger price"
    if request.allocated_margin is not None and (request.slot is None or request.reduce_only):
        return "margin is allocated with an isolated order that opens, and with no other"
    if request.slot == NEW_SLOT and not request.reduce_only and request.allocated_margin is None:
        return "an isolated order that opens brings its margin along: allocated_margin"
    if request.post_only and (request.type is not OrderType.LIMIT or request.time_in_force is not TimeInForce.GTC):
        return "post-only is for limit orders that stay until cancelled"
    return None


def order_params(request: OrderRequest, valid_until_ms: int) -> dict[str, Param]:
    """The parameters of `private/buy` and `private/sell`; `post_only` always said, its default differs between docs."""
    params: dict[str, Param] = {
        "instrument_name": request.product_id,
        "amount": request.size,
        "type": request.type.value,
        "label": request.identity,
        "time_in_force": request.time_in_force.value,
        "post_only": request.post_only,
        "reduce_only": request.reduce_only,
        "valid_until": valid_until_ms,
    }
    if request.post_only:
        params["reject_post_only"] = True  # else the venue moves the price, and the order is not the one intended
    if request.type in _PRICED:
        params["price"] = request.price
    if request.type in TRIGGER_TYPES:
        params["trigger_price"] = request.trigger_price
        params["trigger"] = request.trigger or "mark_price"
    if request.slot is not None:
        params["isolated"] = True
    if request.allocated_margin is not None:
        params["allocated_margin"] = request.allocated_margin
    return params


async def close(act: Act, product_id: str, isolated: bool, price: Param) -> Outcome:
    """The venue's own reduce-only close of a whole position: at a limit, or at market when `price` is None."""
    params: dict[str, Param] = {"instrument_name": product_id, "type": "market" if price is None else "limit"}
    if price is not None:
        params["price"] = price
    if isolated:
        params["isolated"] = True

    async def attempt() -> Outcome:
        return _confirmed(await act("private/close_position", params, CREATE_S, Duty.EXIT))

    return await outcome_of(attempt)


async def cancel(act: Act, order: Order, state: Callable[[], Awaitable[Order | None]], clock: Clock) -> Outcome:
    """Cancel by id, again while no answer comes. When it is said to be open no more, `state` tells how it ended."""
    params: dict[str, Param] = {"order_id": order.order_id}
    if order.slot is not None:
        params["isolated"] = True

    async def attempt() -> Outcome:
        result = await act("private/cancel", params, CANCEL_S, Duty.EXIT)
        answered = wire.order(wire.row_of(result, "the order"))
        if answered.order_id != order.order_id:
            raise NoAnswer(f"the answer speaks of order {answered.order_id}")
        return Confirmed(answered)

    outcome = await outcome_of(lambda: persist(attempt, _may_pass, clock))
    if isinstance(outcome, Refused) and outcome.code in NOT_OPEN | ORDER_NOT_FOUND:
        ended = await state()
        if ended is not None and ended.status.is_terminal:
            return Confirmed(ended, passages=outcome.passages)
    return outcome


def _may_pass(why: Exception) -> bool:
    """Whether the venue may answer otherwise in a moment; asking again when throttled would cost us the session."""
    return isinstance(why, RpcFailure) and why.kind in (Kind.UNCERTAIN, Kind.NOT_EXECUTED)


async def outcome_of(attempt: Callable[[], Awaitable[Outcome]], valid_until_ms: int | None = None) -> Outcome:
    """What an attempt came to. Whatever is no clear yes and no clear no is Unknown."""
    with noted() as passages:
        try:
            outcome = await attempt()
        except (NotSent, NoAnswer, RpcFailure) as why:
            outcome = failed(why, valid_until_ms)
    return replace(outcome, passages=tuple(passages))


def failed(why: NotSent | NoAnswer | RpcFailure, valid_until_ms: int | None = None) -> Refused | Unknown:
    """What a failed attempt proves."""
    if isinstance(why, NotSent):
        return Refused(None, f"not sent: {why}", sent=False)
    if isinstance(why, NoAnswer):
        return Unknown(str(why), valid_until_ms)
    if why.kind is Kind.UNCERTAIN:
        return Unknown(f"the venue answered {why.code} {why.reason}", valid_until_ms)
    return Refused(why.code, why.reason)


def _answered(result: object, request: OrderRequest) -> Confirmed:
    """The order in an answer, if it is the one that was asked for."""
    confirmed = _confirmed(result)
    order = confirmed.order
    same = (order.identity, order.product_id, order.side) == (request.identity, request.product_id, request.side)
    if not same or order.size > request.size:
        raise NoAnswer(f"the answer speaks of another order, {order.order_id}")
    return confirmed


def _confirmed(result: object) -> Confirmed:
    row = wire.row_of(result, "the answer")
    fills = tuple(wire.fill(trade) for trade in wire.rows_of(row.get("trades", []), "trades"))
    return Confirmed(wire.order(wire.row_of(row.get("order"), "the order")), fills)
