"""This file carries sans-I/O sessions and HTTP answers of either face over real sockets (Starlette)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from perpctl.paper.venue import Venue
from perpctl.paper.wire.http import Asked
from perpctl.paper.wire.reply import Close, Frame, HttpReply, Out

MOST_WAITING = 20_000  # frames for one slow reader before its connection is given up
MOST_CONNECTIONS = 32  # of one address; the next gets HTTP 429 (Deribit docs, connection management)
Cut = Callable[[tuple[str, int] | None], None]  # kill the connection of this peer without a word


class Session(Protocol):
    """One connection without its socket."""

    @property
    def peer(self) -> str:
        """The address at the other end."""

    def receive(self, frame: bytes | str, wall_s: float) -> list[Out]:
        """A frame came in; what is to go out."""

    def tick(self, wall_s: float) -> list[Out]:
        """Time passed; what is to go out."""

    def drain(self) -> list[Out]:
        """What waits to go out."""

    def lost(self) -> None:
        """The peer went away."""


@dataclass(eq=False)
class _Wire:
    """One open socket and what waits to go out on it."""

    socket: WebSocket
    session: Session
    queue: asyncio.Queue[Out] = field(default_factory=asyncio.Queue)


@dataclass
class Sockets:
    """Every open connection of a server, and when somebody was last there."""

    venue: Venue
    wall: Callable[[], float]
    cut: Cut
    last_used_s: float = 0.0
    _wires: set[_Wire] = field(default_factory=set)

    @property
    def is_idle(self) -> bool:
        return not self._wires

    def flush(self) -> None:
        """Send on what the sessions have waiting."""
        for wire in list(self._wires):
            self._queue(wire, wire.session.drain())

    def used(self) -> None:
        """Somebody was here by another door."""
        self.last_used_s = self.wall()
        self.flush()

    def tick(self) -> None:
        """Let time pass for every session."""
        wall_s = self.wall()
        for wire in list(self._wires):
            self._queue(wire, wire.session.tick(wall_s))
        self.flush()

    async def answer(self, asked: Asked, hold_s: float, act: Callable[[Asked, float], HttpReply]) -> HttpReply:
        """One HTTP request, held back first; `act` gets it with the wall time."""
        if hold_s:
            await asyncio.sleep(hold_s)
        self.last_used_s = self.wall()
        self.venue.catch_up(self.last_used_s)
        reply = act(asked, self.last_used_s)
        if self._wires:
            self.flush()
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        if reply.cut:
            self.cut(asked.client)
        return reply

    async def serve(self, socket: WebSocket, open_session: Callable[[float, str], Session]) -> None:
        """One WebSocket until its end."""
        if self.venue.faults.outage:
            self.cut(_address(socket.client))
            return
        peer = socket.client.host if socket.client else "unknown"
        if sum(wire.session.peer == peer for wire in self._wires) >= MOST_CONNECTIONS:
            await socket.send_denial_response(Response(status_code=429))
            return
        await socket.accept()
        wire = _Wire(socket, open_session(self.wall(), peer))
        self._wires.add(wire)
        sender = asyncio.create_task(self._send(wire))
        try:
            await self._receive(wire)
        finally:
            self._wires.discard(wire)
            wire.session.lost()
            self.flush()
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    async def _receive(self, wire: _Wire) -> None:
        while wire.socket.client_state is WebSocketState.CONNECTED:
            message = await wire.socket.receive()
            if message["type"] != "websocket.receive":
                return
            frame: str | bytes | None = message.get("text") or message.get("bytes")
            self.last_used_s = self.wall()
            self.venue.catch_up(self.last_used_s)
            self._queue(wire, wire.session.receive(frame or "", self.last_used_s))
            self.flush()

    def _queue(self, wire: _Wire, out: list[Out]) -> None:
        for item in out:
            if isinstance(item, Frame) and item.delay_s:
                asyncio.get_running_loop().call_later(item.delay_s, wire.queue.put_nowait, Frame(item.body))
            else:
                wire.queue.put_nowait(item)
        if wire.queue.qsize() > MOST_WAITING:
            self.cut(_address(wire.socket.client))

    async def _send(self, wire: _Wire) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                item = await wire.queue.get()
                if isinstance(item, Frame):
                    await wire.socket.send_text(item.body.decode())
                elif item.cut:
                    self.cut(_address(wire.socket.client))
                    return
                else:
                    await _close(wire.socket, item)
                    return


async def _close(socket: WebSocket, close: Close) -> None:
    await socket.close(close.code, close.reason)


def _address(client: object) -> tuple[str, int] | None:
    host, port = getattr(client, "host", None), getattr(client, "port", None)
    return (host, port) if isinstance(host, str) and isinstance(port, int) else None
