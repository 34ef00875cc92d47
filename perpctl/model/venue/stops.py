"""This file tells how near a planned stop is: which step towards it is due, and from when entries may come back."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from perpctl.model.venue.calendar import Happening


class Stage(IntEnum):
    """How far a stop has come; of two stops at once, the higher stage counts."""

    AHEAD = 1  # whoever is on call decides: hold through it, or be flat
    AFTER = 2  # over by the clock, and just so
    PAUSED = 3  # no new entry
    CLEARED = 4  # entries are cancelled and read back
    VERIFIED = 5  # protective stops are read back
    SHUT = 6  # nothing can be placed, cancelled or closed


class Steps(Struct, frozen=True):
    """Seconds before a stop at which each step is due (None: never taken), and after its end until entries may go."""

    tell_s: int
    pause_s: int
    clear_s: int | None = None
    verify_s: int | None = None
    after_s: int = 0

    def stage(self, stop: Happening, now_ms: int) -> Stage | None:
        """The step that is due now; None: the stop is far, or over. Without an end it lasts until told otherwise."""
        if now_ms >= stop.start_ms:
            if stop.end_ms is None or now_ms < stop.end_ms:
                return Stage.SHUT
            return Stage.AFTER if now_ms < stop.end_ms + self.after_s * 1000 else None
        left_ms = stop.start_ms - now_ms
        due = ((self.verify_s, Stage.VERIFIED), (self.clear_s, Stage.CLEARED), (self.pause_s, Stage.PAUSED))
        for before_s, stage in due:
            if before_s is not None and left_ms <= before_s * 1000:
                return stage
        return Stage.AHEAD if left_ms <= self.tell_s * 1000 else None


class Standing(Struct, frozen=True):
    """The stop that counts now. `until_ms`: when the clock lets entries back at the earliest; None: nobody says."""

    stop: Happening
    stage: Stage
    until_ms: int | None

    @property
    def pauses(self) -> bool:
        """Whether no new entry may be sent."""
        return self.stage > Stage.AHEAD
