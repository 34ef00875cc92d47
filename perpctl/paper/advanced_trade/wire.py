"""This file puts the Advanced Trade face on real sockets, as paths of the one port (Starlette)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from perpctl.paper.advanced_trade.face import REST_PATH
from perpctl.paper.wire.http import Asked, Door
from perpctl.paper.wire.reply import HttpReply
from perpctl.paper.wire.sockets import Sockets

MARKET_SOCKET = "/advanced-trade-ws"
USER_SOCKET = "/advanced-trade-ws-user"


@dataclass
class Endpoints:
    """The REST host and the two WebSocket hosts of the face over one venue."""

    sockets: Sockets

    def routes(self) -> list[BaseRoute]:
        """Its paths."""
        return [
            Route(REST_PATH + "/{path:path}", Door(self._http), methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/v2/{path:path}", Door(self._http), methods=["GET"]),
            WebSocketRoute(MARKET_SOCKET, self._socket),
            WebSocketRoute(USER_SOCKET, self._socket),
        ]

    async def _socket(self, socket: WebSocket) -> None:
        face = self.sockets.venue.us.face
        peer = socket.client.host if socket.client else "unknown"
        if not face.limits.connects(peer, self.sockets.wall()):
            await socket.send_denial_response(Response("Too many requests", status_code=429))
            return
        await self.sockets.serve(socket, face.open_session)

    async def _http(self, asked: Asked) -> HttpReply:
        hold_s = self.sockets.venue.faults.hold(f"{asked.method} {asked.path}")
        return await self.sockets.answer(asked, hold_s, self._answer)

    def _answer(self, asked: Asked, wall_s: float) -> HttpReply:
        face = self.sockets.venue.us.face
        return face.handle_http(asked.method, asked.target, asked.headers, asked.body, wall_s, asked.peer)
