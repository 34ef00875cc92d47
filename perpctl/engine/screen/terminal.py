"""This file keeps the live view on a terminal and listens to its keys; elsewhere it writes one JSON object a line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from perpctl import render
from perpctl.engine.closing import Wish
from perpctl.engine.loop import Bot
from perpctl.engine.screen.diary import Diary, Entry, as_json
from perpctl.engine.screen.view import Frame, Look, screen
from perpctl.model.mode import Mode
from perpctl.results import Answer

DRAW_S = 0.5
TWO_COLUMNS = 104  # what a pair of limits beside each other takes
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
        self._keyboard = Keyboard(self._pressed)
        self._screen = render.Redraw(render.Form.TABLE)

    async def show(self) -> None:
        """Redraw twice a second, and act on keys, until cancelled."""
        with self._keyboard:
            while True:
                if not self._frozen and not self._away:
                    self._draw()
                await asyncio.sleep(DRAW_S)

    def _draw(self) -> None:
        look = Look(self._panel, shutil.get_terminal_size().columns < TWO_COLUMNS, self._frozen)
        self._screen.draw(screen(self._bot, self._diary, self._frame, look), 0.0)

    def _pressed(self, key: str) -> None:
        if self._away:
            return
        if key in PANELS:
            self._panel = PANELS[key]
        elif key == " ":
            self._frozen = not self._frozen
            self._draw()
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
            with self._keyboard.lent():
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


class Keyboard:
    """Keys arrive one by one, unechoed; the terminal is given back as it was. Without a keyboard: nothing."""

    def __init__(self, pressed: Callable[[str], None]) -> None:
        self._pressed = pressed
        self._in_use = False
        self._before: list[Any] | None = None

    def __enter__(self) -> None:
        self._in_use = sys.stdin.isatty()
        self._listen()

    def __exit__(self, *_: object) -> None:
        self._in_use = False
        self._give_back()

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Another process asks its question: two readers would share out what is typed between them."""
        self._give_back()
        try:
            yield
        finally:
            self._listen()

    def _listen(self) -> None:
        if self._in_use:
            descriptor = sys.stdin.fileno()
            self._before = termios.tcgetattr(descriptor)
            tty.setcbreak(descriptor)
            asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        for key in os.read(sys.stdin.fileno(), 64).decode(errors="replace"):
            self._pressed(key)

    def _give_back(self) -> None:
        if self._before is not None:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)
            self._before = None
