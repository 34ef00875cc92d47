"""This file starts the process that carries a kill out, and watches it: its own, or one that somebody else started."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from perpctl.emergency import kill, pending
from perpctl.emergency.pending import Record, Story
from perpctl.emergency.screen.progress import Progress
from perpctl.emergency.target import Target, as_fraction, config_dir
from perpctl.errors import CredentialError, ExitCode, NegativeVerdict, StateDamaged, UsageError
from perpctl.store.identity_key import load_identity_key, read_identity_key
from perpctl.store.lease import boot_id, process_started

if TYPE_CHECKING:
    from perpctl.emergency.closing.closer import Wish

Line = Mapping[str, Any]
_PIPE_BYTES = 1 << 20
_YOUNG_S = 3.0
_LEAVE_LATE_S = 10.0  # the worker says itself when the foreground time is over; this is for one that cannot


class Errand(NamedTuple):
    """One kill as it is handed to the process that carries it out; `terms` outlive that process, `began` does not."""

    kill_id: str
    terms: Mapping[str, Any]
    began: float  # monotonic: when Enter was pressed
    latched: float  # and when the latches were written
    output: str


def start(
    target: Target, latches: Mapping[Path, str], kill_id: str, wished: argparse.Namespace, *, entries_only: bool
) -> Callable[[], int]:
    """Pursue one target in a process of its own, or find the kill that already runs; call the result to watch it."""
    latched, lock = time.monotonic(), _closer(target)
    if lock is None:
        _say_latches(latches)
        return partial(_attach, target, wished)
    terms = {
        "reason": wished.reason,
        "command": _command(wished, target),
        "scope": wished.scope or target.scope,
        "max_slippage": wished.max_slippage,
        "market": wished.market,
        "entries_only": entries_only,
        "who": kill.who(),
        "confirmed": wished.confirmed,
    }
    return _begin(target, latches, Errand(kill_id, terms, wished.began, latched, wished.output), lock)


def finish(target: Target, wished: argparse.Namespace) -> int:
    """Take up the unfinished kill (or the one named) where it stands; attaches when somebody is at it."""
    left = [story for story in pending.unfinished(target.directory) if wished.finish in ("", story.kill_id)]
    if not left:
        raise NegativeVerdict(f"profile {target.profile}: no unfinished kill {wished.finish}".rstrip())
    return _resume(target, left[-1], wished)


def _resume(target: Target, story: Story, wished: argparse.Namespace) -> int:
    terms = story.started.get("terms")
    if not terms:
        raise StateDamaged(
            f"{story.path} does not say what was asked for",
            not_done="Nothing was taken up.",
            next_commands=(f"perpctl kill -p {target.profile} --force",),
        )
    latches = kill.latch_all(target, story.kill_id, terms["reason"])
    latched, lock = time.monotonic(), _closer(target)
    if lock is None:
        return _attach(target, wished)
    return _begin(target, latches, Errand(story.kill_id, terms, wished.began, latched, wished.output), lock)()


def status(target: Target, kill_id: str, output: str) -> int:
    """Show the last kill, or the one named: its receipt so far. Raises NegativeVerdict when there was none."""
    story = _find(target, kill_id)
    receipt = story.receipt
    if receipt is None:
        progress = Progress(sys.stderr)
        for line in story.lines:
            progress.tell(line)
    else:
        _show(receipt if output == "json" else {**receipt, "worker": story.worker}, output)
    if story.is_over:
        return int(receipt["exit"]) if receipt is not None else ExitCode.UNKNOWN
    worker = story.worker
    by = f"process {worker} is at it" if worker else f"NOBODY is at it: perpctl kill -p {target.profile} --finish"
    sys.stderr.write(f"{story.kill_id} is not finished; {by}\n")
    return ExitCode.UNKNOWN


def give_up(target: Target, kill_id: str, reason: str) -> int:
    """Abandon an unfinished kill, for a stated reason; the latch stays."""
    if not reason:
        raise UsageError("--abandon wants a --reason", not_done="The kill goes on.")
    story = _find(target, kill_id)
    if story.is_over:
        raise NegativeVerdict(f"{story.kill_id} is over already")
    try:
        pending.abandon(story, kill.who(), reason)
    except OSError as why:
        raise StateDamaged(f"{story.path}: {why.strerror}", not_done="The kill goes on.") from why
    sys.stderr.write(f"{story.kill_id} is given up. The latch stays on; what stands was not touched further.\n")
    return ExitCode.PARTIAL


def _find(target: Target, kill_id: str) -> Story:
    found = [story for story in pending.stories(target.directory) if kill_id in ("", story.kill_id)]
    if not found:
        raise NegativeVerdict(f"profile {target.profile}: no kill {kill_id} on record".replace("  ", " "))
    return found[-1]


def _closer(target: Target) -> int | None:
    """The right to close; -1 when there is nothing to lock on, and then it is taken for granted."""
    try:
        return pending.take_closer(target.directory)
    except OSError as why:
        sys.stderr.write(f"The closer's lock cannot be had ({why.strerror}); going on without.\n")
        return -1


def _command(wished: argparse.Namespace, target: Target) -> str:
    words = ["perpctl kill", f"-p {target.profile}", *(["--force"] if wished.force else [])]
    words += [f"--max-slippage {wished.max_slippage}"] if wished.max_slippage else []
    words += ["--market"] if wished.market else []
    words += [f"--scope {wished.scope}"] if wished.scope else []
    return " ".join([*words, *([f"--reason {json.dumps(wished.reason)}"] if wished.reason else [])])


# --- the worker ------------------------------------------------------------------------------------------------------


def _begin(target: Target, latches: Mapping[Path, str], errand: Errand, lock: int) -> Callable[[], int]:
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError as why:
        sys.stderr.write(f"No process of its own could be started ({why.strerror}): this one does it; stay here.\n")
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _work(target, latches, errand, None)
        return partial(_last_word, target, errand)
    if child == 0:
        os.close(reading)
        _leave_terminal()
        code = ExitCode.BUG
        try:
            _work(target, latches, errand, writing)
            code = ExitCode.OK
        finally:
            os._exit(code)
    os.close(writing)
    if lock >= 0:
        os.close(lock)  # the child's copy holds it
    sys.stderr.write(f"KILL  {target.heading}   receipt {errand.kill_id}   {errand.terms['who']}\n")
    return partial(_watch_child, reading, target, errand)


def _watch_child(reading: int, target: Target, errand: Errand) -> int:
    said = _watch(_from_pipe(reading), target, errand.output, errand.began)
    os.close(reading)
    return _last_word(target, errand) if said is None else said


def _leave_terminal() -> None:
    """A session of its own: no hang-up, no Ctrl-C, and no terminal to wait for."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _work(target: Target, latches: Mapping[Path, str], errand: Errand, pipe: int | None) -> None:
    """Carry the kill out to its end, and record it."""
    from perpctl.emergency import receipt as paper
    from perpctl.emergency.fence import stop_unit
    from perpctl.emergency.steps import Pursuit
    from perpctl.emergency.telling import Told

    if pipe is not None:
        os.set_blocking(pipe, False)
        fcntl.fcntl(pipe, getattr(fcntl, "F_SETPIPE_SZ", 1031), _PIPE_BYTES)
    record = Record(target.directory, errand.kill_id, pipe)
    pid = os.getpid()
    me = {"pid": pid, "started": process_started(pid), "boot": boot_id()}
    record.write("started", kill_id=errand.kill_id, **me, terms=dict(errand.terms))
    pursuit = Pursuit(target, _wish(errand, target), record, latches)
    told, key = Told(), pursuit.wish.identity_key
    told.syslog(f"KILL {target.heading} {errand.kill_id} by {errand.terms['who']}: {errand.terms['reason']}")

    def write_down(event: str, *, unfinished: bool) -> None:
        verdict = paper.judge(pursuit)
        told.syslog(f"KILL {errand.kill_id} {event}, exit {int(verdict)}: {target.heading}")
        signed = paper.sign(paper.make_receipt(pursuit, told, pending=unfinished), key)
        kept = {**signed, "file": paper.save(signed, target.directory)}
        record.write(event, receipt=kept)
        record.make_durable()

    pursuit.run(
        at_deadline=lambda _: write_down("pending", unfinished=True),
        stop_service=lambda it: it.mark("stop", *stop_unit(target.bot_unit)),
    )
    write_down("ended", unfinished=False)


def _wish(errand: Errand, target: Target) -> Wish:
    from perpctl.emergency.closing.closer import Wish
    from perpctl.emergency.venue.opening import terms_of
    from perpctl.model.flatten import ladder

    terms = errand.terms
    slippage = as_fraction(terms["max_slippage"]) if terms["max_slippage"] else None
    return Wish(
        kill_id=errand.kill_id,
        who=terms["who"],
        reason=terms["reason"],
        command=terms["command"],
        began=errand.began,
        latched=errand.latched,
        scope=terms["scope"],
        rungs=ladder(slippage, at_market=terms["market"], whole=terms_of(target.venue).ladder),
        entries_only=terms["entries_only"],
        identity_key=_identity_key(),
    )


def _identity_key() -> bytes | None:
    """Ours, made when there is none yet; without a writable configuration the kill does without."""
    try:
        return read_identity_key(config_dir()) or load_identity_key(config_dir())
    except CredentialError:
        return None


# --- the watcher -----------------------------------------------------------------------------------------------------


def _attach(target: Target, wished: argparse.Namespace) -> int:
    """Watch the kill that runs already; one whose worker has died or gone silent is taken over."""
    story = _running(target)
    if story is None:
        sys.stderr.write("Another kill closes here already, and could not write down what it does.\n")
        return ExitCode.UNKNOWN
    worker = story.worker
    sys.stderr.write(f"Another kill closes here already: attached to {story.kill_id}, process {worker}\n")
    code = _watch(_from_file(story), target, wished.output, wished.began)
    if code is not None:
        return code
    sys.stderr.write(f"Process {worker} says nothing any more: taking {story.kill_id} over.\n")
    if worker is not None and story.worker == worker:
        os.kill(worker, signal.SIGKILL)
    return _resume(target, story, wished)


def _running(target: Target) -> Story | None:
    """The kill that somebody is at; it may be so young that its first line is still to come."""
    end = time.monotonic() + _YOUNG_S
    while True:
        running = [story for story in pending.unfinished(target.directory) if story.worker is not None]
        if running or time.monotonic() > end:
            return running[-1] if running else None
        time.sleep(0.05)


def _from_pipe(descriptor: int) -> Iterator[Line | None]:
    """Lines from our own worker; ends when it does."""
    rest = b""
    while True:
        if not select.select([descriptor], [], [], 0.1)[0]:
            yield None
            continue
        part = os.read(descriptor, 1 << 16)
        if not part:
            return
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _from_file(story: Story) -> Iterator[Line | None]:
    """Lines of somebody else's kill; ends when its worker is gone, or has been silent for too long."""
    heard, gone = time.monotonic(), False
    for line in pending.follow(story.path):
        if line is not None:
            heard = time.monotonic()
        elif gone or time.monotonic() - heard > pending.SILENT_S:
            return
        else:
            gone = story.worker is None  # what it wrote before it went is still to be read
        yield line


def _watch(lines: Iterator[Line | None], target: Target, output: str, began: float) -> int | None:
    """Show lines until the receipt comes: its exit code; None when they end without one.

    Ctrl-C asks once; the second leaves, and the kill goes on.
    """
    leave_at = began + target.timing.foreground + _LEAVE_LATE_S
    progress = Progress(sys.stderr)
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    asked = False
    try:
        for line in lines:
            if line is not None and "receipt" in line:
                return _show(line["receipt"], output)
            if line is not None:
                progress.tell(line)
            elif time.monotonic() > leave_at:
                return None
            else:
                progress.tick()
            if pressed:
                progress.leave()
                if asked or not sys.stdin.isatty() or _stop_watching():
                    return _left(target)
                asked = True
                pressed.clear()
        return None
    finally:
        signal.signal(signal.SIGINT, before)


def _stop_watching() -> bool:
    """Ask; a second Ctrl-C is a yes."""
    watching = signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stderr.write("\nCancels and closes go on. Stop watching? [y/N] ")
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        return True
    finally:
        signal.signal(signal.SIGINT, watching)


def _left(target: Target) -> int:
    sys.stderr.write(f"\nThe kill goes on; nothing is proven yet.  perpctl kill -p {target.profile} --status\n")
    return ExitCode.UNKNOWN


def _last_word(target: Target, errand: Errand) -> int:
    """What can be said when the worker says nothing more: its file has the receipt, or nothing is known."""
    kill_id, output = errand.kill_id, errand.output
    try:
        story = pending.read_story(target.directory / "kills" / f"{kill_id}.jsonl")
    except OSError:
        story = Story(kill_id, target.directory, ())
    if story.receipt is not None and story.is_over:
        return _show(story.receipt, output)
    going = f"process {story.worker} goes on" if story.worker else "NOBODY goes on with it"
    commands = f"perpctl kill -p {target.profile} --status   |   perpctl kill -p {target.profile} --finish"
    sys.stderr.write(f"UNKNOWN: {kill_id} has not ended; {going}.\n{commands}\n")
    if output == "json":
        facts = {"schema": "perpctl.receipt/1", "kill_id": kill_id, "exit": 3, "error": "not ended", "pending": True}
        sys.stdout.write(json.dumps(facts) + "\n")
    return ExitCode.UNKNOWN


def _say_latches(latches: Mapping[Path, str]) -> None:
    for path, outcome in latches.items():
        sys.stderr.write(f"latch    {path} {outcome}\n")


def _show(receipt: Line, output: str) -> int:
    from perpctl.emergency.screen.receipt import screen
    from perpctl.emergency.screen.words import fitted

    told = json.dumps(receipt) + "\n" if output == "json" else fitted(screen(receipt), sys.stdout)
    sys.stdout.write(told)
    sys.stdout.flush()
    return int(receipt["exit"])
