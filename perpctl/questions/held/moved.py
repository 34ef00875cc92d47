"""This file tells what came into the account or left it since the day's baseline was taken: neither profit nor loss."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from perpctl.errors import PerpctlError
from perpctl.exchange.port import Exchange, Unsupported
from perpctl.model.money import ZERO

if TYPE_CHECKING:
    from perpctl.store.projections import Projections

LEDGER_S = 2.0  # whoever asks what is held does not wait longer for what it does not hang on


class Moved(Struct, frozen=True):
    """Net transfers since the baseline; None: not known, and `unread` says why. `never`: the venue tells nobody."""

    net: Decimal | None = ZERO
    unread: str | None = None
    never: bool = False


async def since_baseline(exchange: Exchange, projections: Projections, at_ms: int) -> Moved:
    """From the venue's ledger, after the moment at which the bot took the baseline of this day."""
    calendar = exchange.calendar
    taken_ms = projections.baseline_taken_ms(calendar.day_name(at_ms)) or calendar.day_start_ms(at_ms)
    try:
        async with asyncio.timeout(LEDGER_S):
            found = await exchange.transfers(taken_ms + 1)
    except TimeoutError:
        return Moved(None, f"the ledger did not answer within {LEDGER_S:g} s")
    except PerpctlError as why:
        return Moved(None, why.message)
    if isinstance(found, Unsupported):
        return Moved(None, found.reason, never=True)
    return Moved(sum((one.amount for one in found if one.at_ms > taken_ms), ZERO))
