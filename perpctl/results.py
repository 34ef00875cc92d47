"""What a command hands to the renderer: an answer with its facts and its view, or a plan of steps.

A question returns an `Answer`, a procedure returns a `Plan`, a service runs until stopped. Nothing here draws or acts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from perpctl.errors import ExitCode

Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]


class Scope(Struct, frozen=True):
    """Whose money an answer speaks of: the first line of every view and the envelope of every JSON object."""

    env: str  # "paper" | "live"
    venue: str  # "global" | "us"
    profile: str
    account: str | None  # as the venue reported it; None: could not be read
    pinned: str  # "pinned" | "not pinned" | "differs" | "unknown"
    at: datetime
    last_seen_account: str | None = None


class Standing(Struct, frozen=True):
    """How the desk stands: the second line of every view. None: not asked, and not shown."""

    mode: str | None = None  # "normal" | "reduce_only" | "halted"
    latch: str | None = None  # "off", or who and why
    bot: str | None = None  # "quoter-1 alive 0.4 s", "none"
    venue_state: str | None = None  # "open", "locked", "UNREACHABLE for ..."
    source: str | None = None  # "venue over HTTP", "journal"
    age_s: float | None = None  # of the read, when it was answered


class Age(Struct, frozen=True):
    """How old a number is; past `limit_s` it is shown STALE. Counts on while a view is watched."""

    seconds: float
    limit_s: float | None = None


class Tone(StrEnum):
    """Colour repeats what words already say."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"
    TITLE = "title"


class Line(Struct, frozen=True):
    """One line of text; a `!` in the margin (`mark`) is for what needs a human."""

    text: str
    tone: Tone = Tone.PLAIN
    mark: bool = False


class Column(Struct, frozen=True):
    """A table column; `key` finds the value in a row, numbers are right-aligned.

    A column that `wraps` takes the lines it needs; a last column of text does so anyway.
    """

    key: str
    title: str
    right: bool = False
    wraps: bool = False


class Row(Struct, frozen=True):
    """A table row: cells by column key, and lines that fold under it."""

    cells: Mapping[str, str | Age]
    below: tuple[Line, ...] = ()
    tone: Tone = Tone.PLAIN


class Table(Struct, frozen=True):
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: str = "none"


class Next(Struct, frozen=True):
    """The last lines of a view: complete commands, ready to paste; `urgent` marks each in the margin."""

    commands: tuple[str, ...]
    urgent: bool = False


class Verbatim(Struct, frozen=True):
    """Text of our own making that is given as it is: a script, a report."""

    text: str


Block = Line | Table | Next | Verbatim


class Answer(Struct, frozen=True):
    """An answer to a question.

    `facts` is the JSON body (money as strings); `view` shows those and no more. `records` names the member
    of `facts` that holds the list which `-o jsonl` and `-o csv` print, one row each.
    """

    schema: str
    scope: Scope | None
    facts: Mapping[str, Json]
    view: tuple[Block, ...]
    exit_code: ExitCode = ExitCode.OK
    records: str | None = None
    standing: Standing | None = None
    banner: str | None = None  # stands above the first line: "DRY RUN: ..."
    trouble: str = ""  # what went wrong, in a sentence: JSON tells it as `error` when the exit code is above 1


class Risk(StrEnum):
    LOWERS = "lowers"
    RAISES = "raises"
    NONE = "none"


class Confirm(StrEnum):
    NONE = "none"
    YES = "yes"
    TYPED = "typed"


class Done(StrEnum):
    """What performing a step came to, from best to worst."""

    NOTHING_TO_DO = "nothing_to_do"
    DONE = "done"
    PARTIAL = "partial"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class OnFailure(StrEnum):
    GO_ON = "go_on"
    STOP = "stop"


class StepResult(Struct, frozen=True):
    done: Done
    evidence: str
    left: tuple[str, ...] = ()
    facts: Mapping[str, Json] = field(default_factory=dict)
    exit_code: ExitCode | None = None  # when the general mapping of `done` is too coarse (8, 1 ...)
    notes: tuple[str, ...] = ()  # lines under the step: a path, a hash


class Objection(str):
    """A preview that says why the step would be refused: the dry run then ends with 5."""

    __slots__ = ()


class Step(Struct, frozen=True):
    """One step of a plan. `preview` and `is_done` only read; `perform` acts and reads back."""

    key: str
    title: str
    preview: Callable[[], Awaitable[str]]
    perform: Callable[[], Awaitable[StepResult]]
    is_done: Callable[[], Awaitable[bool]] | None = None
    on_failure: OnFailure = OnFailure.STOP


class Plan(Struct, frozen=True):
    """A runbook action, not yet carried out.

    `fingerprint` is what the plan was made from; a changed one is exit 9. `typed` is the word that TYPED asks.
    """

    name: str
    scope: Scope | None
    risk: Risk
    confirm: Confirm
    fingerprint: str
    steps: tuple[Step, ...]
    typed: str = ""
    reason_required: bool = False
    command: str = ""  # what to type for it again, where the name alone says too little
