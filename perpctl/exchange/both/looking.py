"""This file turns one look at a venue into an ability: a refusal is a no in its own words, silence is unknown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from perpctl.errors import CredentialError, Throttled, UnknownState, UsageError, VenueRefused
from perpctl.exchange.port import BookSeen, QuoteSeen, Session
from perpctl.model.venue.ability import Ability, Can, Section

HEARD_S = 5.0  # for the first message of the market channels
NOT_THERE = frozenset({-32601, 404})  # a way of asking that a venue does not have says nothing about the thing


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look came to."""

    can: Can
    evidence: str


def yes(evidence: str) -> Seen:
    """It can, and this was seen."""
    return Seen(Can.YES, evidence)


async def look_at(
    key: str, section: Section, look: Callable[[], Awaitable[Seen]], *, wanted: bool | None = True
) -> Ability:
    """One look, whatever becomes of it."""
    try:
        seen = await look()
    except (UnknownState, Throttled) as why:  # too many questions: this one was not answered
        seen = Seen(Can.UNKNOWN, why.message)
    except (VenueRefused, UsageError) as why:
        missing = isinstance(why, VenueRefused) and why.code in NOT_THERE
        seen = Seen(Can.UNKNOWN if missing else Can.NO, why.message)
    except CredentialError as why:
        seen = Seen(Can.NO, why.message)
    return Ability(key, section, seen.can, seen.evidence, wanted)


async def hear(session: Session) -> None:
    """Until a market channel speaks, at most 5 s: what was granted is known by then."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEARD_S):
            async for event in session:
                if isinstance(event, QuoteSeen | BookSeen):
                    return


def channel(key: str, granted: Sequence[str], refused: Sequence[str]) -> Ability:
    """The channels of one socket."""
    if refused or not granted:
        words = f"left out: {', '.join(refused) or 'everything'}; granted: {', '.join(granted) or 'none'}"
        return Ability(key, Section.CHANNELS, Can.NO, words)
    return Ability(key, Section.CHANNELS, Can.YES, f"granted: {', '.join(granted)}")
