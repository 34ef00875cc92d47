"""This file sees to the paper exchange that a run starts: with the run's feed, and ended with the run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from perpctl.desk import Desk
from perpctl.errors import HeldByAnother
from perpctl.host.process import is_running


class OwnExchange:
    """An exchange that was running before stays as it is; one that is started for this run ends with it.

    `words` are the options of its feed. After `leave` it is left to end by itself when idle.
    """

    def __init__(self, desk: Desk, words: tuple[str, ...]) -> None:
        self._desk, self._words = desk, words
        self._started: int | None = None

    async def __aenter__(self) -> OwnExchange:
        settings = self._desk.settings
        card = settings.endpoints_file
        if settings.exchange_command is None or card is None:
            await self._desk.exchange()
            return self
        before = _pid_on(card)
        if before is not None and self._words:
            _check_feed(self._words)  # a feed that cannot be played is what is wrong first
            raise HeldByAnother(
                f"the paper exchange of profile {settings.profile} runs already (pid {before}), with a feed of its own",
                not_done="nothing was started",
                next_commands=(f"kill {before}", f"perpctl -p {settings.profile} run"),
            )
        self._desk.settings = replace(settings, exchange_command=(*settings.exchange_command, *self._words))
        await self._desk.exchange()
        after = _pid_on(card)
        self._started = after if after != before else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._started, signal.SIGTERM)

    def leave(self) -> None:
        """Somebody else still needs it: a kill that fenced us is at work there."""
        self._started = None


def _check_feed(words: tuple[str, ...]) -> None:
    """Raises what the exchange itself would end with: FeedFileError, UsageError."""
    from perpctl.paper.feed.choice import feed_of

    given = dict(zip(words[::2], words[1::2], strict=True))
    if "--feed" in given:
        feed_of(given["--feed"], 0, 0)


def _pid_on(card: Path) -> int | None:
    """The process that the exchange's own record names, if it lives."""
    try:
        pid = int(json.loads(card.read_text())["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if is_running(pid) else None
