"""This file keeps orders and fills that are not ours: told at once, counted, and halted on when nobody adopts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.watch.alarms import Alarm, raise_alarm
from perpctl.model import identity
from perpctl.model.fill import Fill
from perpctl.model.mode import Mode
from perpctl.model.order import Order

if TYPE_CHECKING:
    from perpctl.engine.core import Core

ADOPT_S = 300.0  # for as long a human may explain what the journal does not know
SEEK_S = 1.0
NAMELESS_S = 2.0  # an order without a label may be ours: its answer may reach our journal after its fill reached us
BLOCK = FOREIGN = "foreign"


class Foreign(StrEnum):
    """What becomes of orders and positions that are not ours."""

    COUNT = "count"  # alarm, count in every limit, halt if not adopted in 5 minutes
    HALT = "halt"  # at once
    IGNORE = "ignore"  # in the products listed: not counted, not told


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """`ignored` are the products (ids) that somebody else trades in this account, with `ignore` only."""

    policy: Foreign = Foreign.COUNT
    ignored: frozenset[str] = frozenset()

    @property
    def patience_s(self) -> float:
        """How long a stranger in a product of ours may stay unexplained."""
        return NAMELESS_S if self.policy is Foreign.HALT else ADOPT_S


@dataclass(slots=True)
class Stranger:
    """One order that is not ours, met as an order or by its fills."""

    order_id: str
    product_id: str
    what: str
    since: float
    sought: float
    filled: bool = False


@dataclass(slots=True)
class Strangers:
    """Those that nobody has explained; `explained` are order ids that somebody has."""

    met: dict[str, Stranger] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)


def meet_order(core: Core, order: Order) -> None:
    """A live order that this bot does not follow: it counts like one of ours, unless its product is another's."""
    if order.product_id in core.rules.foreign.ignored:
        return
    known = order.order_id in core.orders.foreign
    core.orders.foreign[order.order_id] = order
    if known:
        return
    if core.is_ours(order.identity) or identity.is_kill(order.identity):
        core.note("BESIDE", order.product_id, f"order {order.order_id} is of another process of ours: counted")
        return
    _meet(core, order.order_id, order.product_id, f"order {order.order_id}", order.identity)


def leave_order(core: Core, order: Order) -> None:
    """A stranger's order ended; what it filled still wants an explanation."""
    core.orders.foreign.pop(order.order_id, None)
    stranger = core.strangers.met.get(order.order_id)
    if stranger is not None and not stranger.filled and not order.filled:
        _forget(core, order.order_id)


def meet_fill(core: Core, fill: Fill) -> None:
    """A fill of no order of this bot."""
    core.ask_for(e.Reconcile("a fill that is not of this bot"))
    if fill.liquidation:
        raise_alarm(core, Alarm("liquidation", 4, "the venue liquidated a position", Mode.HALTED))
        return
    if identity.is_kill(fill.identity):
        return
    _meet(core, fill.order_id, fill.product_id, f"fill {fill.trade_id} of {fill.size}", fill.identity)
    if (stranger := core.strangers.met.get(fill.order_id)) is not None:
        stranger.filled = True


def _meet(core: Core, order_id: str, product_id: str, what: str, label: str | None) -> None:
    if order_id in core.strangers.met or order_id in core.strangers.explained:
        return
    if product_id not in core.products:
        core.note("FOREIGN", product_id, f"{what} is not ours: counted")
        return
    core.strangers.met[order_id] = Stranger(order_id, product_id, what, core.now, core.now)
    text = f"{what} is not ours: counted in every limit; {_then(core)}"
    core.ask_for(e.Alert(3, FOREIGN, text, product_id, order_id))
    core.ask_for(e.SeekOwner(order_id, first=True))
    if core.rules.foreign.policy is Foreign.HALT:
        core.blocks[BLOCK] = f"{what} is not ours"
        if label is not None:  # no answer of ours can explain a label that is not of our making
            _halt(core, core.strangers.met[order_id])


def _then(core: Core) -> str:
    if core.rules.foreign.policy is Foreign.HALT:
        return "halted"
    return f"halted in {ADOPT_S / 60:.0f} min unless adopted: perpctl orders adopt"


def watch_strangers(core: Core) -> None:
    """Time passes: ask our journal again, and halt when patience ends."""
    for stranger in tuple(core.strangers.met.values()):
        if core.now - stranger.since > core.rules.foreign.patience_s:
            _halt(core, stranger)
        if core.now - stranger.sought >= SEEK_S:
            stranger.sought = core.now
            core.ask_for(e.SeekOwner(stranger.order_id))


def told_before(core: Core, event: e.ToldBefore) -> None:
    """The time to adopt it began when a run first told of it: starting again gives nobody five minutes more."""
    stranger = core.strangers.met.get(event.order_id)
    if stranger is not None:
        stranger.since = min(stranger.since, core.now - event.ago_s)


def _halt(core: Core, stranger: Stranger) -> None:
    reason = f"gate: {stranger.what} is not ours and nobody adopted it"
    raise_alarm(core, Alarm(f"foreign {stranger.order_id}", 4, reason, Mode.HALTED))


def owner_found(core: Core, event: e.OwnerFound) -> None:
    """Somebody answers for it; it goes on counting in every limit."""
    stranger = core.strangers.met.get(event.order_id)
    core.strangers.explained.add(event.order_id)
    if stranger is not None:
        core.note("ADOPTED", stranger.product_id, f"{stranger.what}: {event.owner}")
        _forget(core, event.order_id)


def _forget(core: Core, order_id: str) -> None:
    core.strangers.met.pop(order_id, None)
    if not core.strangers.met:
        core.blocks.pop(BLOCK, None)
