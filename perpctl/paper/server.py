"""This file is the paper exchange as a process: `python -m perpctl.paper.server`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn
from starlette.routing import Router

from perpctl.clock import SystemClock, to_ms
from perpctl.errors import HeldByAnother, PerpctlError, UsageError
from perpctl.paper import certificate
from perpctl.paper.advanced_trade.face import REST_PATH
from perpctl.paper.advanced_trade.wire import MARKET_SOCKET, USER_SOCKET
from perpctl.paper.advanced_trade.wire import Endpoints as UsEndpoints
from perpctl.paper.control import PATH as CONTROL_PATH
from perpctl.paper.control import Control
from perpctl.paper.faults import FaultPlane
from perpctl.paper.feed.choice import feed_of
from perpctl.paper.gateway.face import PRIVATE_SOCKET, RPC_PATH, STREAMS_SOCKET
from perpctl.paper.gateway.wire import Endpoints as GatewayEndpoints
from perpctl.paper.incidents.scenario import Playing, scenario_of
from perpctl.paper.keys import MAIN_ACCOUNT, KeyRing, portfolio_of
from perpctl.paper.state import Directory, Record
from perpctl.paper.venue import MAX_SPEED, Venue
from perpctl.paper.wire.sockets import Sockets

SCHEMA = "perpctl.paper/1"
BEAT_S = 0.025  # market, heartbeats and 100 ms channels are looked at this often
CHECKPOINT_EVERY_S = 30.0
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """How to serve. `port` 0 takes a free one; `idle_exit_s` None serves until told to stop."""

    state_dir: Path
    port: int = 0
    feed: str = "synthetic"
    speed: float = 1.0
    seed: int = 0
    tls: bool = False
    idle_exit_s: float | None = None
    scenario: str | None = None  # an incident to play, by name


class _Server(uvicorn.Server):
    """uvicorn without its grip on the signals: they are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PaperServer:
    """One listening port over one venue."""

    def __init__(self, options: Options, directory: Directory) -> None:
        self._options = options
        self._clock = SystemClock()
        self._stopping = asyncio.Event()
        self._ca_file: Path | None = None
        keys = KeyRing(directory.path)
        self._key_file = _default_key(keys, directory.path, self._clock)
        feed = feed_of(options.feed, options.seed, to_ms(self._clock.now()))
        self.venue = Venue(
            Record(directory.path),
            keys,
            feed,
            options.speed,
            secrets.randbits(64),  # tokens of a served exchange are not for guessing
            FaultPlane(options.seed),
        )
        self._incident = None if options.scenario is None else Playing(scenario_of(options.scenario))
        if self._incident is not None:
            self._incident.begin(self.venue)
        self._sockets = Sockets(self.venue, self.wall, self._cut, self.wall())
        control = Control(self.venue, self.wall, self._stopping.set, self._sockets.used)
        self._app = Router(
            routes=[*GatewayEndpoints(self._sockets).routes(), *UsEndpoints(self._sockets).routes(), *control.routes()]
        )

    def wall(self) -> float:
        """Wall seconds since the epoch: the clock that clients sign with, also after the machine slept."""
        return self._clock.now().timestamp()

    async def run(self) -> None:
        """Serve until told to stop, or idle for too long."""
        try:
            listener = _listen(self._options.port)
        except PerpctlError:
            self.venue.record.release()
            raise
        self._uvicorn = _Server(self._config())
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[listener]))
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stopping.set)
        while not self._uvicorn.started and not serving.done():  # noqa: ASYNC110 - uvicorn offers no event
            await asyncio.sleep(0.005)
        ready = self._ready(listener.getsockname()[1])
        card = self._options.state_dir / "server.json"
        _write_private(card, json.dumps(ready))
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        try:
            await self._beat_until_stopped(serving)
        finally:
            card.unlink(missing_ok=True)
            self.venue.close()
            self._sockets.flush()
            self._uvicorn.should_exit = True
            await serving

    async def _beat_until_stopped(self, serving: asyncio.Task[None]) -> None:
        checkpoint_due = self.wall() + CHECKPOINT_EVERY_S
        while not self._stopping.is_set() and not serving.done():
            wall_s = self.wall()
            self.venue.advance(wall_s)
            if self._incident is not None:
                self._incident.beat(self.venue)
            self.venue.us.face.tick(wall_s)
            self._sockets.tick()
            await self.venue.sync()
            if wall_s >= checkpoint_due or self.venue.is_long:
                self.venue.checkpoint()
                checkpoint_due = wall_s + CHECKPOINT_EVERY_S
            if self._is_idle_too_long(wall_s):
                return
            await asyncio.sleep(0 if self.venue.is_behind else BEAT_S)

    def _is_idle_too_long(self, wall_s: float) -> bool:
        limit = self._options.idle_exit_s
        return limit is not None and self._sockets.is_idle and wall_s - self._sockets.last_used_s > limit

    def _cut(self, peer: tuple[str, int] | None) -> None:
        for connection in list(self._uvicorn.server_state.connections):
            transport = getattr(connection, "transport", None)
            if peer is not None and getattr(connection, "client", None) == peer and transport is not None:
                transport.abort()

    def _config(self) -> uvicorn.Config:
        tls: dict[str, Any] = {}
        if self._options.tls:
            self._ca_file, leaf, key = certificate.ensure(self._options.state_dir, self._clock.now())
            tls = {"ssl_certfile": str(leaf), "ssl_keyfile": str(key)}
        return uvicorn.Config(
            self._app,
            loop="asyncio",
            http="httptools",
            ws="websockets-sansio",
            ws_ping_interval=None,  # the venue's own heartbeat is what counts
            ws_per_message_deflate=False,
            ws_max_size=1 << 20,
            lifespan="off",
            log_level="error",  # a traceback of ours belongs into the log of whoever started us
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=900,
            timeout_graceful_shutdown=1,
            **tls,
        )

    def _ready(self, port: int) -> dict[str, object]:
        at, secure = f"{HOST}:{port}", "s" if self._options.tls else ""
        owner = self.venue.exchange.account(min(self.venue.exchange.account_ids()))
        return {
            "schema": SCHEMA,
            "pid": os.getpid(),
            "gateway_http": f"http{secure}://{at}{RPC_PATH}",
            "gateway_ws": f"ws{secure}://{at}{PRIVATE_SOCKET}",
            "gateway_streams": f"ws{secure}://{at}{STREAMS_SOCKET}",
            "advanced_trade_rest": f"http{secure}://{at}{REST_PATH}",
            "advanced_trade_ws": f"ws{secure}://{at}{MARKET_SOCKET}",
            "advanced_trade_ws_user": f"ws{secure}://{at}{USER_SOCKET}",
            "control": f"http{secure}://{at}{CONTROL_PATH}",
            "ca_file": str(self._ca_file) if self._ca_file else None,
            "state_dir": str(self._options.state_dir),
            "key_file": str(self._key_file),
            "account": {"id": str(owner.account_id), "username": owner.username},
            "us_account": {"id": portfolio_of(MAIN_ACCOUNT)},
        }


def serve(options: Options) -> None:
    """Serve until stopped.

    Raises HeldByAnother (directory or port), UsageError (port, feed), StateDamaged.
    """
    asyncio.run(serve_here(options))


async def serve_here(options: Options) -> None:
    """As `serve`, in the running event loop."""
    directory = Directory(options.state_dir)
    try:
        await PaperServer(options, directory).run()
    finally:
        directory.release()


def _default_key(keys: KeyRing, state_dir: Path, clock: SystemClock) -> Path:
    path = state_dir / "key.json"
    if not path.exists():
        keys.create("es256", path, ("view", "trade"), MAIN_ACCOUNT, clock.now())
    return path


def _listen(port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle off only where it can see that this is TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
        return listener
    except OSError as why:
        listener.close()
        if _is_one_of_us(port):
            raise HeldByAnother(
                f"port {port} is held by another paper exchange", not_done="no second one was started"
            ) from why
        raise UsageError(f"port {port} cannot be had: {why.strerror}; --port 0 takes a free one") from why


def _is_one_of_us(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", f"{CONTROL_PATH}/status")
        answer = json.loads(connection.getresponse().read(100_000))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(answer, dict) and str(answer.get("schema", "")).startswith("perpctl.paper")


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def read_speed(text: str) -> float:
    """Market seconds a wall second: a positive number, or "max". Raises UsageError."""
    try:
        speed = MAX_SPEED if text == "max" else float(text)
    except ValueError as why:
        raise UsageError(f"speed is a number or max, not {text!r}") from why
    if not speed > 0:
        raise UsageError(f"speed must be above 0, not {text!r}")
    return speed


def main(argv: list[str]) -> int:
    """The module as a program; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m perpctl.paper.server", description="Serve the paper exchange.")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--feed", default="synthetic", help="synthetic, replay:FILE or venue")
    parser.add_argument("--speed", default="1", help="market seconds a wall second, or max")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--idle-exit", type=float, default=None, metavar="SECONDS")
    parser.add_argument("--scenario", default=None, metavar="NAME", help="an incident to play")
    given = parser.parse_args(argv)
    try:
        speed = read_speed(given.speed)
        options = Options(given.state_dir, given.port, given.feed, speed, given.seed, given.tls, given.idle_exit)
        serve(replace(options, scenario=given.scenario))
    except PerpctlError as why:
        # One line: whoever started this process shows its last one.
        parts = [why.message, why.not_done, *(f"next: {command}" for command in why.next_commands)]
        sys.stderr.write("; ".join(part for part in parts if part) + "\n")
        return int(why.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
