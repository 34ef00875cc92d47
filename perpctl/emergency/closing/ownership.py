"""This file tells which part of a position is ours, from the labels of the fills that made it; for scope `ours`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from perpctl.emergency.venue.port import Venue
from perpctl.model.money import ZERO, plain
from perpctl.model.position import Position


def own_part(venue: Venue, position: Position, is_mine: Callable[[str | None], bool]) -> Position:
    """The position cut down to the net of the fills that carry our labels, never more than the venue reports.

    Raises NoAnswer when the fills cannot all be read: a part cannot be told from half of them.
    """
    net = sum((fill.size for fill in venue.labelled_fills(position) if is_mine(fill.label)), ZERO)
    size = min(abs(net), abs(position.size)).copy_sign(position.size) if net * position.size > 0 else ZERO
    share = size / position.size
    notional = None if position.notional is None else position.notional * share
    return replace(position, size=size, notional=notional)


def rise_of_delta(whole: Sequence[Position], ours: Sequence[Position]) -> str | None:
    """Why closing only ours would leave an underlying with more net delta than it has; None: it would not."""
    for name in sorted({position.underlying for position in ours if position.size != 0}):
        net, closing = _net(whole, name), _net(ours, name)
        if abs(net - closing) > abs(net):
            return (
                f"scope ours is refused for {name}: net delta is {plain(net)} now, and closing our "
                f"{plain(closing)} would make it {plain(net - closing)}"
            )
    return None


def _net(positions: Sequence[Position], name: str) -> Decimal:
    return sum((position.size for position in positions if position.underlying == name), ZERO)
