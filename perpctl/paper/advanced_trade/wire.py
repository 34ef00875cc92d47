"""This file puts the Advanced Trade face on real sockets, as paths of the one port (Starlette)."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from perpctl.paper.advanced_trade.face import REST_PATH
from perpctl.paper.wire.reply import HttpReply
from perpctl.paper.wire.sockets import Sockets

MARKET_SOCKET = "/advanced-trade-ws"
USER_SOCKET = "/advanced-trade-ws-user"


@dataclass
class Endpoints:
    """The REST host of the face over one venue."""

    sockets: Sockets

    def routes(self) -> list[BaseRoute]:
        """Its paths."""
        return [Route(REST_PATH + "/{path:path}", self._http, methods=["GET", "POST", "PUT", "DELETE"])]

    async def _http(self, request: Request) -> Response:
        hold_s = self.sockets.venue.faults.hold(f"{request.method} {request.url.path}")
        return await self.sockets.answer(request, hold_s, self._answer)

    def _answer(self, request: Request, body: bytes, wall_s: float, peer: str) -> HttpReply:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        face = self.sockets.venue.us.face
        return face.handle_http(request.method, target, dict(request.headers), body, wall_s, peer)
