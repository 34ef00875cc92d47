"""This file answers on the bot's control socket, and writes the bot's heartbeat."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from perpctl.engine.closing import Wish
from perpctl.engine.loop import Bot
from perpctl.engine.recording import Asking, Recorder
from perpctl.engine.screen.status import facts_of
from perpctl.errors import StateDamaged
from perpctl.results import Json

LONGEST = 65_536
BEAT_S = 1.0
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
Answers = Callable[[Bot, Mapping[str, Any]], Awaitable[dict[str, Json]]]


@contextlib.asynccontextmanager
async def listening(bot: Bot, recorder: Recorder, path: Path) -> AsyncIterator[None]:
    """Serve the control socket; gone when the context ends. One JSON object a line, each way."""
    _remove(path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                answer = await _answer(bot, line)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
                recorder.asked(_asking(writer, line, ok=answer["ok"] is True))
        writer.close()

    server = await asyncio.start_unix_server(serve, path, limit=LONGEST)
    os.chmod(path, 0o660)
    try:
        yield
    finally:
        server.close()
        _remove(path)


def _asking(writer: asyncio.StreamWriter, line: bytes, *, ok: bool) -> Asking:
    """Who asked: the kernel vouches for the other end of a socket of its own (Linux, unix(7))."""
    word = next((one for one in _WORDS if f'"{one}"'.encode() in line), "what is not understood")
    pid = uid = None
    if hasattr(socket, "SO_PEERCRED"):
        peer = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(peer)
    asked = word if word in _ACTS else None
    return Asking("control socket", word, "done" if ok else "not done", uid, pid, by_token=False, asked=asked)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _answer(bot: Bot, line: bytes) -> dict[str, Json]:
    try:
        asked = json.loads(line)
        act = _WORDS[asked["do"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"ok": False, "error": f'say one of {", ".join(_WORDS)} as {{"do": WORD}}'}
    answer = await act(bot, asked)
    return {"ok": True, "pid": os.getpid(), "mode": bot.core.mode.value, "fenced": bot.fenced is not None, **answer}


async def _status(bot: Bot, asked: Mapping[str, Any]) -> dict[str, Json]:
    return facts_of(bot)


async def _fence(bot: Bot, asked: Mapping[str, Any]) -> dict[str, Json]:
    """From here on nothing leaves; the bot ends, and its socket takes the entries along."""
    bot.fence(str(asked.get("kill_id") or "?"))
    asyncio.get_running_loop().call_later(0.05, bot.stop)  # after the answer
    return {"reason": str(asked.get("reason") or "")[:400]}


async def _mode(bot: Bot, asked: Mapping[str, Any]) -> dict[str, Json]:
    return {"why": bot.core.mode_why}


async def _mass_cancel(bot: Bot, asked: Mapping[str, Any]) -> dict[str, Json]:
    """Our entries, cancelled and read back; a fenced bot sends nothing."""
    if bot.fenced is not None:
        return {"ok": False, "error": "the bot is fenced"}
    read_back = await bot.clear_entries()
    counts: dict[str, Json] = {"cancelled": read_back.cancelled, "in_flight": read_back.in_flight}
    return {"ok": read_back.proven, "left": len(read_back.left), **counts}


async def _stop(bot: Bot, asked: Mapping[str, Any]) -> dict[str, Json]:
    bot.stop(Wish(flatten=asked.get("flatten") is True, leave_orders=asked.get("leave_orders") is True))
    return {"stopping": True}


_WORDS: dict[str, Answers] = {
    "status": _status,
    "fence": _fence,
    "mode": _mode,
    "mass_cancel": _mass_cancel,
    "stop": _stop,
}


_ACTS = frozenset(_WORDS) - {"status", "mode"}


async def beat(bot: Bot, path: Path) -> None:
    """Write what the bot is doing, every second, for whoever watches it from outside. Raises StateDamaged."""
    beside = path.with_name(f".{path.name}.new")
    while True:
        text = json.dumps({"schema": "perpctl.bot/1", "pid": os.getpid(), **facts_of(bot)})
        try:
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            beside.replace(path)
        except OSError as why:
            raise StateDamaged(
                f"{path} cannot be written: {why.strerror}",
                not_done="the bot stopped where it was: nobody could see whether it lives",
            ) from why
        await bot.gear.clock.sleep(BEAT_S)
