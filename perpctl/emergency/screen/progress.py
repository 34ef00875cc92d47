"""This file shows a kill while it runs: redrawn in place on a terminal, one line a step otherwise."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any, TextIO

from perpctl.emergency.pending import STEPS

Line = Mapping[str, Any]
_REWORDED = {"step": "{step:<8} {state:<12} {text}", "trouble": "!        {text}", "refused": "refused  {what}: {text}"}


class Progress:
    """The steps as far as they have come."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._steps: dict[str, str] = {}
        self._trouble = ""
        self._last_after = 0.0
        self._heard = time.monotonic()
        self._drawn = 0

    def tell(self, line: Line) -> None:
        """Show what a line of the record says, if it says anything to people."""
        after = line.get("after_s")
        if isinstance(after, int | float):
            self._last_after, self._heard = float(after), time.monotonic()
        text = _worded(line)
        if not self._in_place:
            if text:
                self._say(text + "\n")
            return
        if line["event"] == "step":
            number = STEPS.index(line["step"]) + 1 if line["step"] in STEPS else "?"
            self._steps[line["step"]] = text.replace(f"s  {line['step']}", f"s  {number} {line['step']}", 1)
            self._trouble = ""
        elif text:
            self._trouble = text
        self._draw()

    def tick(self) -> None:
        """Nothing new: the clock goes on."""
        if self._in_place:
            self._draw()

    def leave(self) -> None:
        """What comes next is written below what stands."""
        self._drawn = 0

    def _draw(self) -> None:
        """Over what was drawn before; no line longer than the terminal, or it could not be found again."""
        columns = shutil.get_terminal_size().columns - 1
        now = f" + {self._last_after + time.monotonic() - self._heard:.1f} s"
        rows = [*(self._steps[step] for step in STEPS if step in self._steps), self._trouble, now]
        rows = [row[:columns] for row in rows if row]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._say(up + "".join(f"\x1b[2K{row}\n" for row in rows) + "\x1b[0J")
        self._drawn = len(rows)

    def _say(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _worded(line: Line) -> str:
    wording = _REWORDED.get(str(line["event"]))
    if wording is None:
        return ""
    after = line.get("after_s")
    stamp = f" + {after:.2f} s  " if isinstance(after, int | float) else "            "
    words = stamp + wording.format_map({"text": "", "what": "", "step": "", "state": "", **line})
    return "".join(one if one.isprintable() else "?" for one in words)  # a venue's text moves no cursor
