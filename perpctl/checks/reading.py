"""This file takes the fresh reads that a proof is made of; a failed read is no read, never an empty one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.model.flatten import Read

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.model.order import Order
    from perpctl.model.position import Position


async def orders(desk: Desk) -> tuple[Read, tuple[Order, ...]]:
    """One listing of every order that can still fill. Raises what the exchange raises."""
    exchange = await desk.exchange()
    at_s, current = desk.clock.monotonic(), await shows_our_last_fill(desk)
    found = await exchange.open_orders()
    read = Read("orders", at_s, await exchange.time_ms(), not found, True, current)
    return read, found


async def positions(desk: Desk) -> tuple[Read, tuple[Position, ...]]:
    """One read of every position, every slot."""
    exchange = await desk.exchange()
    at_s, current = desk.clock.monotonic(), await shows_our_last_fill(desk)
    found = await exchange.positions()
    read = Read("positions", at_s, await exchange.time_ms(), not found, True, current)
    return read, found


async def margin(desk: Desk) -> Read:
    """The second endpoint: no margin in use and no isolated slot in use."""
    exchange = await desk.exchange()
    at_s, current = desk.clock.monotonic(), await shows_our_last_fill(desk)
    account = await exchange.account()
    unused = account.initial_margin == 0 and account.slots_in_use == 0
    return Read("margin", at_s, await exchange.time_ms(), unused, True, current)


async def shows_our_last_fill(desk: Desk) -> bool:
    """Whether the venue's answers hold the last fill that our journal has: older answers prove nothing."""
    fills = desk.projections().fills(await _yesterday(desk))
    if not fills:
        return True
    known = fills[-1]
    exchange = await desk.exchange()
    return any(fill.trade_id == known.trade_id for fill in await exchange.fills(known.at_ms))


async def _yesterday(desk: Desk) -> int:
    return await (await desk.exchange()).time_ms() - 86_400_000
