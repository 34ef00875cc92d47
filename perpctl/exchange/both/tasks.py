"""This file keeps what works beside a live connection: a failure there is a bug, and the loop must hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from perpctl.exchange.both.inbox import Inbox


class Tasks:
    """What one end of a connection has under way; the inbox ends with the failure of any."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Beside whatever else goes on, until it is done or all is stopped."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    async def stop(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        ending = tuple(self._running)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._inbox.close(bug)
