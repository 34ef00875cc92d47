"""This file is the local service: health, readiness, metrics, status, and the mode, answered when read back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from perpctl.clock import to_ms
from perpctl.engine.loop import Bot, ReadBack
from perpctl.engine.screen.status import facts_of
from perpctl.errors import PerpctlError, WorldChanged
from perpctl.model.mode import Mode
from perpctl.monitor.access import Access, Caller, Refused
from perpctl.monitor.health import components, is_ready
from perpctl.monitor.metrics import exposition
from perpctl.results import Json
from perpctl.store.latch import LatchState
from perpctl.store.latch import Mode as LatchMode

LARGEST = 64 * 1024
DEEPEST = 32
WAIT_S = 2.0
_STRICTNESS = {Mode.NORMAL: 0, Mode.REDUCE_ONLY: 1, Mode.HALTED: 2}
Answerer = Callable[[Request], Awaitable[Response]]


class LocalApi:
    """The routes over one bot."""

    def __init__(self, bot: Bot, access: Access) -> None:
        self._bot, self._access = bot, access

    def app(self) -> Starlette:
        """What a server serves."""
        reads: dict[str, Answerer] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
            "/api/status": self._status,
        }
        routes = [Route(path, self._guarded(answer), methods=["GET"]) for path, answer in reads.items()]
        return Starlette(
            routes=[
                *routes,
                Route("/api/mode", self._guarded(self._mode), methods=["GET"]),
                Route("/api/mode", self._set_mode, methods=["POST"]),
            ]
        )

    def _guarded(self, answer: Answerer) -> Answerer:
        async def guarded(request: Request) -> Response:
            refused = self._access.reading(_caller(request))
            return _no(refused) if refused is not None else await answer(request)

        return guarded

    async def _health(self, request: Request) -> Response:
        parts = components(self._bot)
        good = all(part.good for part in parts.values())
        body = {"status": "ok" if good else "bad", "components": {name: part.as_json() for name, part in parts.items()}}
        return JSONResponse(body, 200 if good else 503)

    async def _ready(self, request: Request) -> Response:
        ready, why = is_ready(self._bot)
        return JSONResponse({"ready": ready, "why": why}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(exposition(self._bot), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _status(self, request: Request) -> Response:
        return JSONResponse({"schema": "perpctl.bot/1", **facts_of(self._bot)})

    async def _mode(self, request: Request) -> Response:
        state, core = self._bot.gear.latch.read(), self._bot.core
        body = {"mode": core.mode.value, "why": core.mode_why, "who": state.who, "cause": state.cause}
        return JSONResponse({**body, "at_ms": state.at_ms, "risk": state.risk})

    async def _set_mode(self, request: Request) -> Response:
        asked = await _body(request)
        if isinstance(asked, Refused):
            return _no(asked)
        try:
            mode = Mode(asked.get("mode", ""))
        except ValueError:
            return _no(Refused(400, f"mode is one of {', '.join(Mode)}"))
        now = Mode(self._bot.gear.latch.read().mode.value)
        lowers = _STRICTNESS[mode] >= _STRICTNESS[now] and mode is not Mode.NORMAL
        caller = _caller(request)
        refused = self._access.lowering(caller) if lowers else self._access.raising(caller)
        if refused is not None:
            return _no(refused)
        return await (self._lower(mode, asked) if lowers else self._raise(mode, asked))

    async def _lower(self, mode: Mode, asked: dict[str, Any]) -> Response:
        """The latch first; the answer only when our entries are read back gone."""
        who, why = _word(asked, "who") or "local api", _word(asked, "reason") or "asked over the local service"
        try:
            self._bot.enter_mode(mode, who, why, cause="human")
        except PerpctlError as failed:
            return _no(Refused(503, f"NOT CONFIRMED: {failed.message}"))
        try:
            read_back = await asyncio.wait_for(asyncio.shield(self._bot.clear_entries()), WAIT_S)
        except TimeoutError:
            read_back = ReadBack(False, 0)
        return JSONResponse(self._told(read_back), 200 if read_back.proven else 503)

    def _told(self, read_back: ReadBack) -> dict[str, Json]:
        facts: dict[str, Json] = {
            "mode": self._bot.core.mode.value,
            "confirmed": read_back.proven,
            "entries_cancelled": read_back.cancelled,
            "stops_kept": len(read_back.stops),
        }
        if not read_back.proven:
            facts["error"] = "NOT CONFIRMED: the latch is written, the entries were not read back gone within 2 s"
            facts["next"] = ["perpctl cancel-all", "perpctl orders"]
        return facts

    async def _raise(self, mode: Mode, asked: dict[str, Any]) -> Response:
        """Back to more risk: a named human with a reason; out of a halt, or past a risk line, only `perpctl resume`."""
        who, reason, state = _word(asked, "who"), _word(asked, "reason"), self._bot.gear.latch.read()
        if not who or not reason:
            return _no(Refused(400, "what raises risk takes who and reason"))
        if state.risk or state.mode is LatchMode.HALTED or mode is not Mode.NORMAL:
            return _no(Refused(409, "leave this with: perpctl resume"))
        at_ms = to_ms(self._bot.gear.clock.now())
        try:
            self._bot.gear.latch.write(LatchState(LatchMode.NORMAL, who, reason, at_ms, "human"), seen=state)
        except WorldChanged as changed:
            return _no(Refused(409, changed.message))
        self._bot.look_at_latch()
        return JSONResponse({"mode": self._bot.core.mode.value, "confirmed": True})


def _caller(request: Request) -> Caller:
    """The connection as the server saw it, not as headers claim."""
    client, server = request.client, request.scope.get("server")
    peer = (client.host, client.port) if client is not None else None
    return Caller(dict(request.headers), peer, server[1] if server else 0)


async def _body(request: Request) -> dict[str, Any] | Refused:
    """The JSON object of a request, whatever content type curl gave it."""
    text = b""
    async for part in request.stream():
        text += part
        if len(text) > LARGEST:
            return Refused(413, f"more than {LARGEST} bytes")
    if text.count(b"{") + text.count(b"[") > DEEPEST:
        return Refused(400, "nested too deep")
    try:
        asked = json.loads(text)
    except ValueError:
        return Refused(400, 'the body is JSON: {"mode": "reduce_only"}')
    return asked if isinstance(asked, dict) else Refused(400, "the body is one JSON object")


def _word(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    return value[:200] if isinstance(value, str) else ""


def _no(refused: Refused) -> Response:
    return JSONResponse({"error": refused.reason}, refused.status)
