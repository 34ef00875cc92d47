"""This file names what leaves a face: HTTP answers, frames and closes; and who keeps what was said."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from perpctl.paper.events import Event


class HttpReply(Struct, frozen=True):
    """An HTTP answer; `cut` means the connection dies instead. `delay_s` passes first."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    cut: bool = False


class Keeper(Protocol):
    """Who sees to it that what was answered or told survives a crash."""

    def seen(self, events: list[Event]) -> None:
        """These events are about to be told."""

    def commit(self) -> None:
        """An answer is about to leave."""

    def note_extra(self, extra: dict[str, Any]) -> None:
        """What the face remembers has changed."""


class Forgetful:
    """Keeps nothing: for simulations in one process."""

    def seen(self, events: list[Event]) -> None:
        """Nothing."""

    def commit(self) -> None:
        """Nothing."""

    def note_extra(self, extra: dict[str, Any]) -> None:
        """Nothing."""


class Frame(Struct, frozen=True):
    """A message to send, `delay_s` from now."""

    body: bytes
    delay_s: float = 0.0


class Close(Struct, frozen=True):
    """The end of the connection: a close frame, or (`cut`) a dead wire without one."""

    code: int = 1006
    reason: str = ""
    cut: bool = False


Out = Frame | Close
