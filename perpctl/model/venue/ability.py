"""This file names what a key was measured to be able to do at its venue, each with how that was seen."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class Can(StrEnum):
    """What a measurement came to."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # it could not be told without acting
    NOT_OFFERED = "n/a"  # this venue has no such thing


class Section(StrEnum):
    """The part of the screen."""

    PERMISSIONS = "PERMISSIONS"
    PRODUCTS = "PRODUCTS"
    ORDERS = "ORDERS"
    CHANNELS = "CHANNELS"
    LIMITS = "LIMITS"
    SAFETY = "SAFETY"


class Ability(Struct, frozen=True):
    """One measured answer; nothing was placed, changed or cancelled for it.

    `key` is stable and says the same at every venue ("permission.trade", "order.stop_market", "safety.gtd").
    `wanted` None: either answer is fine, it is only good to know. `evidence` quotes what the venue said.
    """

    key: str
    section: Section
    can: Can
    evidence: str
    wanted: bool | None = True

    @property
    def verdict(self) -> str:
        """PASS, FAIL, UNKNOWN or n/a."""
        if self.can in (Can.UNKNOWN, Can.NOT_OFFERED):
            return self.can.upper() if self.can is Can.UNKNOWN else self.can.value
        return "PASS" if self.wanted in (None, self.can is Can.YES) else "FAIL"


def named(abilities: Iterable[Ability], verdict: str) -> tuple[str, ...]:
    """The keys of those with that verdict."""
    return tuple(one.key for one in abilities if one.verdict == verdict)
