"""This file ends the bot: entries cancelled and read back, stops left standing, what is held said plainly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage
from perpctl.errors import ExitCode
from perpctl.model.order import Order
from perpctl.store.records import Kind

if TYPE_CHECKING:
    from perpctl.engine.loop import Bot, ReadBack

FLATTEN_S = 15.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Wish:
    """How to end; a fence ends without another word to the venue."""

    flatten: bool = False
    leave_orders: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A position that stays open, with the stop that covers it (None: bare)."""

    product: Product
    stop: Order | None


@dataclass(frozen=True, slots=True)
class Ended:
    """What the summary says; `read_back` None: the entries were meant to stay, or a kill had fenced the bot."""

    took_s: float
    ran_s: float
    wish: Wish
    read_back: ReadBack | None
    kept: tuple[Kept, ...]
    fills: int
    result: Decimal | None
    refused_by_venue: int
    refused_by_gate: int
    fenced: str | None

    @property
    def exit_code(self) -> ExitCode:
        if self.read_back is not None and not self.read_back.proven:
            return ExitCode.UNKNOWN
        if self.wish.flatten and self.kept:
            return ExitCode.PARTIAL
        return ExitCode.OK


async def close_down(bot: Bot, wish: Wish) -> Ended:
    """End in order: no new wishes, entries gone and read back, then flat if wished; the stops of what is held stay."""
    clock, core = bot.gear.clock, bot.core
    began = clock.monotonic()
    core.blocks["stopping"] = "the bot is stopping"
    read_back = None
    if bot.fenced is None and not wish.leave_orders:
        bot.carry_out(core.clear("the bot is stopping", began))
        read_back = await bot.clear_entries()
    if bot.fenced is None and wish.leave_orders and bot.sender.session is not None:
        await bot.sender.session.leave_orders()
    if bot.fenced is None and wish.flatten:
        await _flatten(bot, began + FLATTEN_S)
    ended = Ended(
        took_s=clock.monotonic() - began,
        ran_s=began - bot.began,
        wish=wish,
        read_back=read_back,
        kept=_kept(bot),
        fills=bot.gear.projections.fills_booked,
        result=core.day.pnl(core.worth(worse=True), core.market_ms),
        refused_by_venue=bot.meter.counts["refused.venue"],
        refused_by_gate=bot.meter.counts["refused.gate"],
        fenced=bot.fenced,
    )
    bot.gear.projections.journal.append(Kind.RUN_STOPPED, _stopped(ended), market_ms=core.market_ms or None)
    return ended


async def _flatten(bot: Bot, until: float) -> None:
    """Close every position we trade; the guard then takes back the stops of what reads zero."""
    clock, core = bot.gear.clock, bot.core
    while clock.monotonic() < until and any(product.position for product in core.products.values()):
        bot.carry_out(core.close_all("stopping, --flatten", clock.monotonic()))
        await clock.sleep(LOOK_S)
    while clock.monotonic() < until and any(working.is_stop for working in core.orders.ours.values()):
        await clock.sleep(LOOK_S)


def _kept(bot: Bot) -> tuple[Kept, ...]:
    held = [product for product in bot.core.products.values() if product.position]
    return tuple(Kept(product, _stop_of(bot, product)) for product in held)


def _stop_of(bot: Bot, product: Product) -> Order | None:
    stops = bot.core.orders.of(product.product_id, stops=True)
    return next((stop.order for stop in stops if stop.stage is Stage.RESTING and stop.order is not None), None)


def _stopped(ended: Ended) -> dict[str, object]:
    return {
        "flatten": ended.wish.flatten,
        "leave_orders": ended.wish.leave_orders,
        "entries_read_back": None if ended.read_back is None else ended.read_back.proven,
        "kept": [
            {
                "product_id": kept.product.product_id,
                "position": kept.product.position,
                "stop": None if kept.stop is None else kept.stop.order_id,
            }
            for kept in ended.kept
        ],
        "fills": ended.fills,
        "day_result": ended.result,
        "fenced_by": ended.fenced,
    }
