"""This file keeps the paper exchange across restarts and SIGKILL: checkpoints, a log of inputs, and the ledger.

The core is deterministic, so its inputs since the last checkpoint are its state. An input is on disk before any answer
or notification that follows from it leaves. `ledger.jsonl` holds every order state and fill, for the crash tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import IO, Any, get_type_hints

import msgspec

from perpctl.errors import HeldByAnother, StateDamaged
from perpctl.paper.core import Exchange
from perpctl.paper.events import (
    AccountChanged,
    AccountLocked,
    Event,
    Filled,
    ForcedTransfer,
    LiquidationChanged,
    OrderChanged,
    PositionChanged,
)
from perpctl.paper.types import Order, Rejected

_ABOUT_ACCOUNTS = (
    OrderChanged, Filled, PositionChanged, AccountChanged, AccountLocked, ForcedTransfer, LiquidationChanged,
)  # fmt: skip
_PASSIVE = ("on_tick", "advance")  # inputs that may be forgotten in a crash as long as nobody saw their effect
_MOST_PENDING = 50_000  # a captured tick carries up to two hundred levels
SCHEMA = "perpctl.paper.state/1"


class _Input(msgspec.Struct):
    """One call of an exchange, and the failure it ended with."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    failed: str | None = None


class Inputs:
    """The calls that changed an exchange since they were last taken; nested calls are part of the outer one."""

    def __init__(self) -> None:
        self.pending: list[_Input] = []
        self.urgent = False
        self._depth = 0

    def run(self, name: str, call: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note a call and make it."""
        noted = _Input(name, args, kwargs)
        if self._depth == 0:
            self.pending.append(noted)
            self.urgent = self.urgent or name not in _PASSIVE
        self._depth += 1
        try:
            return call()
        except Exception as failure:
            noted.failed = type(failure).__name__
            raise
        finally:
            self._depth -= 1

    def clear(self) -> None:
        self.pending.clear()
        self.urgent = False


def _noted(name: str) -> Any:
    original = getattr(Exchange, name)

    @wraps(original)
    def method(self: KeptExchange, *args: Any, **kwargs: Any) -> Any:
        return self.inputs.run(name, lambda: original(self, *args, **kwargs), args, kwargs)

    return method


class KeptExchange(Exchange):
    """An exchange that notes every call that may change it."""

    inputs: Inputs

    on_tick = _noted("on_tick")
    advance = _noted("advance")
    set_book_state = _noted("set_book_state")
    set_maintenance = _noted("set_maintenance")
    open_account = _noted("open_account")
    lock_account = _noted("lock_account")
    transfer = _noted("transfer")
    deposit = _noted("deposit")
    deleverage = _noted("deleverage")
    set_leverage = _noted("set_leverage")
    choose_margin = _noted("choose_margin")
    plan_stop = _noted("plan_stop")
    plan_sweep = _noted("plan_sweep")
    place = _noted("place")
    edit = _noted("edit")
    cancel = _noted("cancel")
    close_position = _noted("close_position")

    def cancel_where(
        self,
        account_id: int,
        wanted: Callable[[Order], bool],
        now: int,
        *,
        include_isolated: bool = False,
        reason: str = "user_request",
    ) -> list[Order]:
        """As in Exchange; noted by order ids, since a question cannot be written down."""
        found = self.open_orders(account_id, include_isolated=include_isolated)
        ids = tuple(order.order_id for order in found if wanted(order))
        return self.cancel_ids(account_id, ids, now, include_isolated=include_isolated, reason=reason)

    def cancel_ids(
        self, account_id: int, order_ids: tuple[str, ...], now: int, *, include_isolated: bool, reason: str
    ) -> list[Order]:
        """Cancel those of these orders that are live."""
        kwargs = {"include_isolated": include_isolated, "reason": reason}

        def run() -> list[Order]:
            return Exchange.cancel_where(
                self,
                account_id,
                lambda order: order.order_id in order_ids,
                now,
                include_isolated=include_isolated,
                reason=reason,
            )

        found: list[Order] = self.inputs.run("cancel_ids", run, (account_id, order_ids, now), kwargs)
        return found


@cache
def _parameters(name: str) -> tuple[str, ...]:
    return tuple(inspect.signature(inspect.unwrap(getattr(KeptExchange, name))).parameters)[1:]


@cache
def _hints(name: str) -> dict[str, Any]:
    return get_type_hints(inspect.unwrap(getattr(KeptExchange, name)))


def _write_input(noted: _Input) -> bytes:
    bound = dict(zip(_parameters(noted.name), noted.args, strict=False)) | noted.kwargs
    entry: dict[str, Any] = {"op": noted.name, "args": bound}
    return msgspec.json.encode(entry if noted.failed is None else {**entry, "failed": noted.failed})


def _replay(exchange: KeptExchange, entry: dict[str, Any]) -> None:
    """Make a noted call again; what failed then fails now in the same way, and leaves the same behind."""
    hints = _hints(entry["op"])
    arguments = {key: msgspec.convert(value, hints[key]) for key, value in entry["args"].items()}
    try:
        getattr(exchange, entry["op"])(**arguments)
    except Exception as failure:
        if type(failure).__name__ != entry.get("failed"):
            raise


class Directory:
    """A state directory, held by this process alone."""

    def __init__(self, path: Path) -> None:
        """Make and lock it. Raises HeldByAnother with the holder's pid; StateDamaged when it cannot be written."""
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = open(path / "lock", "a+")  # noqa: SIM115 - held for as long as the process lives
        except OSError as why:
            raise StateDamaged(f"{path} cannot be written: {why.strerror}") from why
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as why:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise HeldByAnother(
                f"{path} is held by another paper exchange (pid {holder})", not_done="no second one was started"
            ) from why
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def release(self) -> None:
        """Let another process have it."""
        self._lock.close()


class Record:
    """What is on disk of one exchange: the only writer of its directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inputs = Inputs()
        self._log: IO[bytes] | None = None
        self._ledger: IO[bytes] | None = None
        self._generation = 0
        self._told = 0  # ledger rows written
        self._unsynced = False
        self._beside: list[Record] = []
        self.extra: dict[str, Any] = {}  # what the face keeps; noted by `note_extra`

    def beside(self, name: str) -> Record:
        """The record of another exchange, in a directory below this one's."""
        folder = self._folder / name
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as why:
            raise StateDamaged(f"{folder} cannot be written: {why.strerror}") from why
        self._beside.append(Record(folder))
        return self._beside[-1]

    # -- coming up

    def start(self, exchange: KeptExchange) -> None:
        """Begin with a new exchange and an empty ledger."""
        self.release()
        self._inputs.clear()
        exchange.inputs = self._inputs
        (self._folder / "ledger.jsonl").unlink(missing_ok=True)
        self._told = 0
        self._ledger = self._open("ledger.jsonl")
        self.checkpoint(exchange)

    def resume(self) -> KeptExchange | None:
        """The exchange as it was left, or None in a new directory. Raises StateDamaged with the file's name."""
        path = self._folder / "checkpoint.json"
        if not path.exists():
            return None
        saved = _read_checkpoint(path)
        self._generation, self._told, self.extra = saved["generation"], saved["told"], saved["extra"]
        try:
            exchange = KeptExchange.load(saved["exchange"])
            assert isinstance(exchange, KeptExchange)
            exchange.inputs = Inputs()
            self._replay_log(exchange)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            AssertionError,
            ArithmeticError,
            msgspec.MsgspecError,
            Rejected,
        ) as why:
            raise StateDamaged(
                f"{self._folder}: the saved exchange cannot be rebuilt ({type(why).__name__}: {why})",
                not_done="nothing was changed",
                next_commands=("perpctl paper reset",),
            ) from why
        self._retell(exchange)
        exchange.inputs = self._inputs
        self.checkpoint(exchange)
        return exchange

    def _replay_log(self, exchange: KeptExchange) -> None:
        log = self._folder / f"log-{self._generation}.jsonl"
        lines = log.read_bytes().split(b"\n") if log.exists() else []
        # The last piece is empty, or a line that SIGKILL tore: nobody was told of what it says.
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = msgspec.json.decode(line)
            except msgspec.DecodeError as why:
                raise ValueError(f"{log.name} line {number}") from why
            if entry["op"] == "extra":
                self.extra |= entry["args"]
            else:
                _replay(exchange, entry)

    def _retell(self, exchange: KeptExchange) -> None:
        """Ledger rows that a crash kept from the ledger are written now, those that are there are not repeated."""
        path = self._folder / "ledger.jsonl"
        whole = path.read_bytes() if path.exists() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            with path.open("r+b") as file:
                file.truncate(len(kept))
        written = kept.count(b"\n")
        self._ledger = self._open("ledger.jsonl")
        for row in _ledger_rows(exchange.take_events()):
            self._told += 1
            if self._told > written:
                self._ledger.write(row)
        self._ledger.flush()

    # -- while running

    def seen(self, events: list[Event]) -> None:
        """Something happened: whatever concerns an account is on disk when this returns."""
        if not any(isinstance(event, _ABOUT_ACCOUNTS) for event in events):
            return
        self._inputs.urgent = True
        self.commit()
        assert self._ledger is not None
        for row in _ledger_rows(events):
            self._told += 1
            self._ledger.write(row)
        self._ledger.flush()

    def commit(self) -> None:
        """Every input that anybody may learn of is on disk when this returns: safe against SIGKILL, not power loss."""
        if not self._inputs.urgent:
            return
        assert self._log is not None
        self._log.write(b"".join(_write_input(noted) + b"\n" for noted in self._inputs.pending))
        self._log.flush()
        self._inputs.clear()
        self._unsynced = True

    def note_extra(self, extra: dict[str, Any]) -> None:
        """Keep these members of what is not the exchange's own."""
        self.extra |= extra
        assert self._log is not None
        self._inputs.urgent = True
        self.commit()
        self._log.write(msgspec.json.encode({"op": "extra", "args": extra}) + b"\n")
        self._log.flush()

    def unsynced(self) -> list[int]:
        """Descriptors of the files with something committed that is not through to the disk; the caller closes them.

        They are copies, so that a sync may take its time in a thread while the files here are written or replaced.
        """
        if not self._unsynced or self._log is None or self._ledger is None:
            return []
        self._unsynced = False
        return [os.dup(self._log.fileno()), os.dup(self._ledger.fileno())]

    @property
    def is_long(self) -> bool:
        """Whether so much was noted that a checkpoint would be cheaper to start from."""
        return len(self._inputs.pending) > _MOST_PENDING or (self._log is not None and self._log.tell() > 8_000_000)

    def checkpoint(self, exchange: KeptExchange) -> None:
        """Write the whole state atomically and begin a new log."""
        generation = self._generation + 1
        content = {"generation": generation, "told": self._told, "extra": self.extra, "exchange": exchange.dump()}
        body = msgspec.json.encode(content)
        head = json.dumps({"schema": SCHEMA, "sha256": hashlib.sha256(body).hexdigest()}).encode()
        old_log, self._log = self._log, self._open(f"log-{generation}.jsonl")
        _write_whole(self._folder / "checkpoint.json", head + b"\n" + body)
        self._inputs.clear()
        if old_log is not None:
            old_log.close()
        (self._folder / f"log-{self._generation}.jsonl").unlink(missing_ok=True)
        self._generation = generation

    def close(self, exchange: KeptExchange) -> None:
        """The clean end."""
        self.checkpoint(exchange)
        self.release()

    def release(self) -> None:
        """Let go of the files as they are, those of the records beside this one too."""
        for record in self._beside:
            record.release()
        for file in (self._log, self._ledger):
            if file is not None:
                file.close()
        self._log = self._ledger = None

    def _open(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def sync_files(descriptors: list[int]) -> None:
    """Bring these files through to the disk, and close them."""
    try:
        for descriptor in descriptors:
            os.fdatasync(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _ledger_rows(events: list[Event]) -> list[bytes]:
    told: list[dict[str, object]] = []
    for event in events:
        if isinstance(event, OrderChanged):
            told.append({"order": event.order})
        elif isinstance(event, Filled):
            told.append({"trade": event.trade})
        elif isinstance(event, ForcedTransfer):
            told.append({"forced": event})
    return [msgspec.json.encode(row) + b"\n" for row in told]


def _read_checkpoint(path: Path) -> dict[str, Any]:
    damaged = StateDamaged(
        f"{path} is damaged: its checksum does not fit its content",
        not_done="the exchange was not started and nothing was changed",
        next_commands=("perpctl paper reset",),
    )
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        stated = json.loads(head)
        if stated["schema"] != SCHEMA or stated["sha256"] != hashlib.sha256(body).hexdigest():
            raise damaged
        content: dict[str, Any] = msgspec.json.decode(body)
    except (ValueError, KeyError, TypeError) as why:
        raise damaged from why
    except OSError as why:
        raise StateDamaged(f"{path} cannot be read: {why.strerror}") from why
    return content


def _write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one."""
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def forget(folder: Path) -> None:
    """Remove what a stopped exchange remembers; its keys and certificate stay. Raises HeldByAnother while one runs."""
    directory = Directory(folder)
    try:
        for pattern in ("checkpoint.json", "ledger.jsonl", "log-*.jsonl"):
            for path in (*folder.glob(pattern), *folder.glob(f"*/{pattern}")):
                path.unlink(missing_ok=True)
    finally:
        directory.release()
