"""This file shows a kill while it runs: redrawn in place on a terminal, else a line a step."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, TextIO

_WORDED = {"step": "{step:<8} {state:<12} {text}", "trouble": "!        {text}", "refused": "refused  {what}: {text}"}
_UP_AND_CLEAR = "\x1b[{}F\x1b[J"
_BLANK = {"text": "", "what": "", "step": "", "state": ""}


class Progress:
    """Lines of the kill's record as they come in."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._redraws = stream.isatty()
        self._standing: dict[str, str] = {}  # the newest line of each step, and the newest trouble
        self._drawn = 0

    def say(self, line: Mapping[str, Any]) -> None:
        """Show one line; what is none of an operator's business is passed over."""
        wording = _WORDED.get(str(line["event"]))
        if wording is None:
            return
        after = line.get("after_s")
        stamp = f" + {after:.2f} s  " if isinstance(after, int | float) else " " * 12
        text = stamp + wording.format_map({**_BLANK, **line})
        if not self._redraws:
            self._stream.write(f"{text}\n")
            return
        self._standing[str(line.get("step") or line["event"])] = text
        self._redraw()

    def let_stand(self) -> None:
        """What is drawn stays: something else is written below it, and what follows is drawn anew."""
        self._drawn = 0

    def _redraw(self) -> None:
        columns = shutil.get_terminal_size().columns - 1  # a line that wraps would be two to go back over
        back = _UP_AND_CLEAR.format(self._drawn) if self._drawn else ""
        self._stream.write(back + "".join(f"{text[:columns]}\n" for text in self._standing.values()))
        self._stream.flush()
        self._drawn = len(self._standing)
