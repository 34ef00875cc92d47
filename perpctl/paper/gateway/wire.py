"""This file puts the gateway on real sockets: HTTP and two WebSocket hosts as paths of one port (Starlette)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from perpctl.paper.gateway import rpc
from perpctl.paper.gateway.face import PRIVATE_SOCKET, RPC_PATH, STREAMS_SOCKET
from perpctl.paper.gateway.rpc import RpcError
from perpctl.paper.gateway.session import Host
from perpctl.paper.wire.http import Asked, Door
from perpctl.paper.wire.reply import HttpReply
from perpctl.paper.wire.sockets import Sockets


@dataclass
class Endpoints:
    """The gateway's three hosts over one venue."""

    sockets: Sockets

    def routes(self) -> list[BaseRoute]:
        """Their paths."""
        return [
            Route(RPC_PATH, Door(self._http), methods=["GET", "POST"]),
            Route(RPC_PATH + "/{method:path}", Door(self._http), methods=["GET", "POST"]),
            WebSocketRoute(PRIVATE_SOCKET, self._private),
            WebSocketRoute(STREAMS_SOCKET, self._streams),
        ]

    async def _http(self, asked: Asked) -> HttpReply:
        gateway, waited = self.sockets.venue.gateway, None
        hold_s = gateway.faults.hold(_name(asked)) if gateway.faults.is_on else 0.0
        if hold_s:
            waited = gateway.hold_http(asked.method, asked.target, asked.headers, asked.body, self.sockets.wall())
            hold_s = 0.0 if waited is not None and waited.refusal is not None else hold_s

        def answer(asked: Asked, wall_s: float) -> HttpReply:
            now = self.sockets.venue.gateway  # another one after a reset meanwhile
            request = (asked.method, asked.target, asked.headers, asked.body)
            return now.handle_http(*request, wall_s, asked.peer, waited=waited)

        return await self.sockets.answer(asked, hold_s, answer)

    async def _private(self, socket: WebSocket) -> None:
        await self._serve(socket, "private")

    async def _streams(self, socket: WebSocket) -> None:
        await self._serve(socket, "streams")

    async def _serve(self, socket: WebSocket, host: Host) -> None:
        gateway = self.sockets.venue.gateway
        await self.sockets.serve(socket, lambda wall_s, peer: gateway.open_session(host, wall_s, peer))


def _name(asked: Asked) -> str:
    """The method's name, for faults that hold a request back before anything else looks at it."""
    name = asked.path.removeprefix(RPC_PATH).strip("/")
    with contextlib.suppress(RpcError):
        name = name or rpc.read_request(asked.body).method
    return name
