"""This file names the three modes of trading."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """What may be sent: everything allowed, only what shrinks a position, or only exits decided elsewhere."""

    NORMAL = "normal"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"
