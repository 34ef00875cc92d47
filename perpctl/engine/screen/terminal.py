"""This file keeps the live view on a terminal and listens to its keys; elsewhere it writes one JSON object a line."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator

from perpctl import render
from perpctl.engine.closing import Wish
from perpctl.engine.loop import Bot
from perpctl.engine.screen.diary import Diary, Entry, as_json
from perpctl.engine.screen.view import Frame, screen
from perpctl.model.mode import Mode
from perpctl.results import Answer

DRAW_S = 0.5
PANELS = {"o": "orders", "f": "fills", "d": "decisions"}
Emergency = Callable[[], Awaitable[None]]


def is_live() -> bool:
    """Whether somebody looks at a screen."""
    return sys.stdout.isatty()


class LiveView:
    """The screen of one bot."""

    def __init__(self, bot: Bot, diary: Diary, frame: Frame, operator: str, emergency: Emergency) -> None:
        self._bot, self._diary, self._frame = bot, diary, frame
        self._operator, self._emergency = operator, emergency
        self._panel = "decisions"
        self._frozen = False
        self._away = False
        self._screen = render.Redraw(render.Form.TABLE)

    async def show(self) -> None:
        """Redraw twice a second, and act on keys, until cancelled."""
        with _single_keys(self._pressed):
            while True:
                if not self._frozen and not self._away:
                    self._draw()
                await asyncio.sleep(DRAW_S)

    def _draw(self) -> None:
        self._screen.draw(screen(self._bot, self._diary, self._frame, self._panel), 0.0)

    def _pressed(self, key: str) -> None:
        if self._away:
            return
        if key in PANELS:
            self._panel = PANELS[key]
        elif key == " ":
            self._frozen = not self._frozen
        elif key == "r":
            self._bot.enter_mode(Mode.REDUCE_ONLY, self._operator, "key r in the live view", cause="human")
        elif key == "k":
            self._bot.spawn(self._kill())
        elif key in ("q", "\x03"):
            self._bot.stop(Wish(self._bot.wish.flatten, self._bot.wish.leave_orders))
        if not self._frozen and not self._away:
            self._draw()

    async def _kill(self) -> None:
        """The emergency program is a process of its own; it asks its one word on this terminal."""
        self._away = True
        try:
            await self._emergency()
        finally:
            self._away = False


class Pipe:
    """Writes the diary as it happens, one JSON object a line."""

    def __init__(self, bot: Bot, frame: Frame) -> None:
        self._bot, self._env = bot, frame.env
        self._out = render.Redraw(render.Form.JSON)

    def tell(self, entry: Entry) -> None:
        """One line."""
        self._out.draw(Answer("perpctl.run/1", None, as_json(entry, self._bot.core, self._env), ()), 0.0)


@contextlib.contextmanager
def _single_keys(pressed: Callable[[str], None]) -> Iterator[None]:
    """Keys arrive one by one, unechoed; the terminal is given back as it was. Without a keyboard: nothing."""
    if not sys.stdin.isatty():
        yield
        return
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, lambda: pressed(sys.stdin.read(1)))
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
