"""This file gives the local service its port on both loopback addresses, and says where it is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.client
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perpctl import render
from perpctl.engine.loop import Bot
from perpctl.engine.recording import Recorder
from perpctl.errors import HeldByAnother, UsageError
from perpctl.monitor.access import Access, our_uids
from perpctl.monitor.api import LocalApi

V4, V6 = "127.0.0.1", "::1"
CONNECTIONS = 32
KEEP_ALIVE_S = 5
REQUEST_S = 5.0  # for a whole request, headers and body
END_S = 3.0
CARD = "local_api.json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service may listen; `takes_any` when the port is taken: another one, recorded and told."""

    port: int
    takes_any: bool


class _Server(uvicorn.Server):
    """uvicorn without its grip on the signals: they are the bot's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(HttpToolsProtocol):
    """A connection that must say a whole request in time; when there are too many, the oldest idle one goes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._began = self.loop.time()
        self._due: asyncio.TimerHandle | None = self.loop.call_later(REQUEST_S, transport.close)
        if len(self.connections) > CONNECTIONS:
            waiting = [one for one in self.connections if isinstance(one, _Connection) and one._due is not None]
            min(waiting, key=lambda one: one._began)._shed()

    def _shed(self) -> None:
        """Gone with the next turn of the loop; until then it is not chosen again."""
        self._on_time()
        self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._due is None:
            self._due = self.loop.call_later(REQUEST_S, self.transport.close)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._on_time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_time()
        super().connection_lost(exc)

    def _on_time(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


@contextlib.asynccontextmanager
async def serving(bot: Bot, recorder: Recorder, place: Place, directory: Path) -> AsyncIterator[str]:
    """Serve while the context lasts; yields the address. Raises UsageError, HeldByAnother for a port that is taken."""
    sockets = _listen(place)
    port: int = sockets[0].getsockname()[1]
    token, url = secrets.token_hex(16), f"http://{V4}:{port}"
    server = _Server(_config(LocalApi(bot, Access(token, our_uids()), recorder)))
    task = asyncio.create_task(server.serve(sockets=sockets))
    _write(directory / CARD, {"schema": "perpctl.local_api/1", "url": url, "pid": os.getpid(), "token": token})
    try:
        yield url
    finally:
        (directory / CARD).unlink(missing_ok=True)
        server.should_exit = True
        await asyncio.wait({task}, timeout=END_S)
        if task.done() and (why := task.exception()) is not None:
            render.tell(f"the local service had ended: {why!r}; the bot went on without it")


def _config(api: LocalApi) -> uvicorn.Config:
    return uvicorn.Config(
        api.app(),
        loop="asyncio",
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,  # its own would close the handlers of everybody else
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )


def _listen(place: Place) -> list[socket.socket]:
    """IPv4 and, where the machine has it, IPv6 on the same port."""
    try:
        return _both(place.port)
    except OSError as why:
        if not place.takes_any:
            raise _taken(place.port, why) from why
        render.tell(f"port {place.port} is taken: the local service takes a free one, told in {CARD}")
        return _both(0)


def _both(port: int) -> list[socket.socket]:
    """Raises OSError also when only ::1 is taken: a `curl localhost` would reach a stranger there."""
    first = _bound(socket.AF_INET, V4, port)
    try:
        return [first, _bound(socket.AF_INET6, V6, first.getsockname()[1])]
    except OSError as why:
        if why.errno == errno.EADDRINUSE:
            first.close()
            raise
        return [first]


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen(CONNECTIONS)
    except OSError:
        made.close()
        raise
    return made


def _taken(port: int, why: OSError) -> UsageError | HeldByAnother:
    if _is_one_of_us(port):
        return HeldByAnother(
            f"port {port} is held by the local service of another perpctl", not_done="nothing was started"
        )
    return UsageError(
        f"port {port} cannot be had: {why.strerror}",
        not_done="nothing was started",
        next_commands=(f"ss -ltnp 'sport = :{port}'", "perpctl config show --origin"),
    )


def _is_one_of_us(port: int) -> bool:
    connection = http.client.HTTPConnection(V4, port, timeout=1.0)
    try:
        connection.request("GET", "/api/status")
        answer = json.loads(connection.getresponse().read(1 << 20))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(answer, dict) and answer.get("schema") == "perpctl.bot/1"


def _write(path: Path, card: dict[str, object]) -> None:
    beside = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(json.dumps(card))
    beside.replace(path)
