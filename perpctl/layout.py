"""This file lays out text: header lines, tables that fold at the page's width, csv; foreign text is made harmless."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, TextIO

from msgspec import Struct

from perpctl.results import Age, Answer, Column, Line, Next, Row, Scope, Standing, Table, Tone, Verbatim

NARROWEST, WIDEST = 80, 110
READABLE = 24  # a column of text is not made narrower than this
_COLOURS = {Tone.GOOD: "32", Tone.WARN: "33", Tone.BAD: "31;1", Tone.DIM: "2", Tone.TITLE: "1"}
_FAMILIAR = {"pinned": "= pinned", "not pinned": "NOT PINNED", "differs": "DIFFERS", "unknown": "?"}

# Control characters (C0, DEL, C1), and those that reorder or hide what stands beside them.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u061c\u2028-\u202e\u2060-\u2069\ufeff]")
_GAP = re.compile(r"(?<=\S)( {3,})(?=\S)")
WHOLE_ID = 16  # characters of an account's id; longer ones are told by their ends
LABEL = 12  # what stands before a gap and is no longer than this names what follows
_NUMBER = re.compile(r"[+-]?[0-9][0-9.,]*(e[+-]?[0-9]+)?", re.IGNORECASE)


class Paper(Struct, frozen=True):
    """What a page is drawn on."""

    width: int
    colour: bool
    is_terminal: bool

    @classmethod
    def of(cls, stream: TextIO) -> Paper:
        """Between 80 and 110 columns; colour on a terminal unless NO_COLOR is set."""
        terminal = stream.isatty()
        columns = shutil.get_terminal_size((WIDEST, 24)).columns
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(min(max(columns, NARROWEST), WIDEST), colour, terminal)

    def paint(self, text: str, tone: Tone) -> str:
        """Colour repeats what the words say."""
        return f"\x1b[{_COLOURS[tone]}m{text}\x1b[0m" if self.colour and tone in _COLOURS and text else text


def clean(text: str) -> str:
    """Text from a venue, file or human, with everything that could drive a terminal shown as its code."""
    return _HARMFUL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def to_line_ends(text: str) -> str:
    """The same page, each line clearing what stood behind it on the screen."""
    return text.replace("\n", "\x1b[K\n")


def fitted(text: str, rows: int) -> str:
    """The page on a screen of so many rows: its beginning and a short last paragraph stay; a line says what not."""
    lines, room = text.splitlines(), max(rows - 1, 2)
    if len(lines) <= room:
        return text
    last = list(takewhile(bool, reversed(lines)))[::-1]
    kept = last if len(last) <= min(3, room - 2) else []
    head = room - 1 - len(kept)
    hidden = len(lines) - head - len(kept)
    return "\n".join([*lines[:head], f"... {hidden} lines more in a taller window", *kept]) + "\n"


def page(answer: Answer, paper: Paper, older_by_s: float) -> str:
    """The whole view of an answer. Ages are older by `older_by_s` than when it was read."""
    lines = [answer.banner] if answer.banner else []
    if answer.scope is not None:
        lines += _scope_lines(answer.scope, paper)
    if answer.standing is not None:
        lines += _wrapped(_standing_text(answer.standing, older_by_s), paper.width, "  ")
    for block in answer.view:
        if isinstance(block, Line):
            lines += _line(block, paper) if block.text else _gap(lines)
        elif isinstance(block, Table):
            lines += [*_gap(lines), *_table(block, paper, older_by_s), ""]
        elif isinstance(block, Verbatim):
            lines += block.text.removesuffix("\n").split("\n")
        else:
            lines += _next(block, paper)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def _gap(lines: Sequence[str]) -> list[str]:
    return [""] if lines and lines[-1] else []


def _scope_lines(scope: Scope, paper: Paper) -> list[str]:
    seen = scope.last_seen_account
    account = account_id(scope.account) if scope.account else f"? (last seen {account_id(seen)})" if seen else "?"
    pinned = _FAMILIAR[scope.pinned] if scope.account else ""
    left = f"{scope.env.upper()}  {scope.venue}  profile {scope.profile}  account {account} {pinned}".rstrip()
    right = _day(scope.at)
    left = clean(left)
    room = paper.width - len(left) - len(right)
    shown = paper.paint(left, Tone.BAD if scope.env == "live" and scope.pinned != "pinned" else Tone.TITLE)
    return [shown + " " * room + right] if room >= 2 else [shown, right.rjust(paper.width)]


def account_id(account: str) -> str:
    """A portfolio's id is told by its ends, as keys are; JSON has it whole."""
    return account if len(account) <= WHOLE_ID else f"{account[:4]}..{account[-4:]}"


def _day(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b %Y  %H:%M:%S} UTC"


def _standing_text(standing: Standing, older_by_s: float) -> str:
    parts = [
        standing.mode and f"mode {standing.mode.upper()}",
        standing.latch and f"latch {standing.latch}",
        standing.bot and f"bot {standing.bot}",
        standing.venue_state and f"venue {standing.venue_state}",
    ]
    if standing.source:
        read = "" if standing.age_s is None else f", read {standing.age_s + older_by_s:.1f} s ago"
        parts.append(f"source: {standing.source}{read}")
    return clean("   ".join(part for part in parts if part))


def _line(line: Line, paper: Paper) -> list[str]:
    margin = "!   " if line.mark else ""
    text = _wrapped(margin + clean(line.text), paper.width, "    ")
    return [paper.paint(one, line.tone) for one in text] or [""]


def _next(block: Next, paper: Paper) -> list[str]:
    commands = [clean(command) for command in block.commands]
    if not commands:
        return []
    if block.urgent:
        return [paper.paint(f"!        {command}", Tone.WARN) for command in commands]
    together = "Next:  " + "  |  ".join(commands)
    if len(together) <= paper.width:
        return [together]
    return [f"{'Next:' if at == 0 else '':<7}{command}" for at, command in enumerate(commands)]


def _wrapped(text: str, width: int, indent: str, *, cut: bool = False) -> list[str]:
    """Folded at the width, at a wide gap rather than between words; a label stays beside what it names.

    A longer word (a command, a path) stays whole so that it can be pasted, unless `cut`.
    """
    if len(text) <= width:
        return [text]
    pieces = _GAP.split(text)
    lines, current = [], pieces[0]
    for gap, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        if len(current.strip()) <= LABEL:
            current += gap + piece
        elif len(current) + 3 + len(piece) <= width:
            current += f"   {piece}"
        else:
            lines += _folded_words(current, width, indent, cut)
            current = indent + piece
    return [*lines, *_folded_words(current, width, indent, cut)]


def _folded_words(text: str, width: int, indent: str, cut: bool) -> list[str]:
    if len(text) <= width:
        return [text]
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        break_long_words=cut,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def _table(table: Table, paper: Paper, older_by_s: float) -> list[str]:
    if not table.rows:
        return [clean(table.empty)]
    columns = table.columns
    titles = [clean(column.title) for column in columns]
    cells = [[_cell(row.cells.get(column.key, ""), older_by_s) for column in columns] for row in table.rows]
    widths = _narrowed(columns, [max(map(len, texts)) for texts in zip(titles, *cells, strict=True)], paper.width)
    kept = _fitting(widths, paper.width)
    lines = [paper.paint(_joined(columns, titles, widths[:kept]), Tone.TITLE)]
    for row, texts in zip(table.rows, cells, strict=True):
        lines += [paper.paint(one, _tone(row, texts)) for one in _row_lines(columns, texts, widths[:kept])]
        lines += _folded(titles[kept:], texts[kept:], paper)
        for below in row.below:
            text = ("!   " if below.mark else "    ") + clean(below.text)
            lines += [paper.paint(one, below.tone) for one in _wrapped(text, paper.width, " " * 10)]
    return lines


def _narrowed(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Widths of which the one column that may wrap gives what is too much, as long as it stays readable."""
    too_much = sum(widths) + 2 * (len(widths) - 1) - width
    wrapping = [at for at, column in enumerate(columns) if column.wraps] or [len(columns) - 1]
    at = wrapping[0]
    if too_much <= 0 or columns[at].right or widths[at] - too_much < READABLE:
        return widths
    return [*widths[:at], widths[at] - too_much, *widths[at + 1 :]]


def _row_lines(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row, over more lines when a text is longer than its column."""
    last = (
        len(texts) - 1
    )  # nothing stands beside it: a path there may be longer than the page, so that it can be pasted
    folded = [
        _wrapped(text, width, "", cut=at < last) for at, (text, width) in enumerate(zip(texts, widths, strict=False))
    ]
    return [
        _joined(columns, [lines[at] if at < len(lines) else "" for lines in folded], widths)
        for at in range(max(map(len, folded)))
    ]


def _tone(row: Row, texts: Sequence[str]) -> Tone:
    stale = row.tone is Tone.PLAIN and any(text.endswith(" STALE") for text in texts)
    return Tone.DIM if stale else row.tone


def _cell(value: str | Age, older_by_s: float) -> str:
    if isinstance(value, str):
        return clean(value)
    seconds = value.seconds + older_by_s
    text = f"{seconds:.1f}s" if seconds < 100 else f"{seconds:.0f}s"
    return f"{text} STALE" if value.limit_s is not None and seconds > value.limit_s else text


def _fitting(widths: Sequence[int], width: int) -> int:
    """How many columns stand beside each other; the others fold under the row."""
    taken, kept = -2, 0
    for one in widths:
        taken += one + 2
        if taken > width and kept:
            break
        kept += 1
    return kept


def _joined(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> str:
    places = zip(columns, texts, widths, strict=False)
    return "  ".join(
        text.rjust(width) if column.right else text.ljust(width) for column, text, width in places
    ).rstrip()


def _folded(titles: Sequence[str], texts: Sequence[str], paper: Paper) -> list[str]:
    rest = [
        f"{title if title != title.upper() else title.lower()} {text}"
        for title, text in zip(titles, texts, strict=True)
        if text
    ]
    return _wrapped("    " + "   ".join(rest), paper.width, " " * 10) if rest else []


def csv_text(records: Iterable[Mapping[str, Any]]) -> str:
    """RFC 4180 with a header line; no cell can be taken for a formula by a spreadsheet."""
    import csv
    import io

    rows = list(records)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    if names:
        writer.writerow(names)
    writer.writerows([_csv_cell(row.get(name)) for name in names] for row in rows)
    return out.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        import json

        return json.dumps(value)
    text = clean(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) and not _NUMBER.fullmatch(text) else text
