"""This file counts request credits: how much the venue lets us ask, and what is kept back for getting out."""

from __future__ import annotations

from perpctl.clock import Clock


class Budget:
    """The credits of one key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
