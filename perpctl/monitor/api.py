"""This file is the local service: health, readiness, metrics, status, and the mode, answered when read back."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perpctl.clock import to_ms
from perpctl.emergency.pending import unfinished
from perpctl.engine.loop import Bot, ReadBack
from perpctl.engine.recording import Asking, Recorder
from perpctl.engine.screen.status import facts_of
from perpctl.errors import PerpctlError, WorldChanged
from perpctl.hiding import without_secrets
from perpctl.model.mode import Mode
from perpctl.monitor.access import Access, Caller, Refused
from perpctl.monitor.health import components, is_ready
from perpctl.monitor.metrics import Figures
from perpctl.results import Json
from perpctl.risk.breaches import mode_after_resume
from perpctl.store.latch import LatchState

LARGEST = 64 * 1024
DEEPEST = 32
WAIT_S = 2.0
RECONCILED_S = 300.0
PATHS = {"/health", "/ready", "/metrics", "/api/status", "/api/positions", "/api/orders", "/api/mode"}
Answerer = Callable[[Request], Awaitable[Response]]


class LocalApi:
    """The routes over one bot."""

    def __init__(self, bot: Bot, access: Access, recorder: Recorder) -> None:
        self._bot, self._access, self._figures, self._recorder = bot, access, Figures(bot), recorder

    def app(self) -> ASGIApp:
        """What a server serves."""
        reads: dict[str, Answerer] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": self._metrics,
            "/api/status": self._status,
            "/api/positions": self._positions,
            "/api/orders": self._orders,
            "/api/mode": self._mode,
        }
        assert set(reads) == PATHS
        routes = [Route(path, answer, methods=["GET"]) for path, answer in reads.items()]
        app = Starlette(routes=[*routes, Route("/api/mode", self._set_mode, methods=["POST"])])
        return self._door(app)

    def _door(self, inside: ASGIApp) -> ASGIApp:
        """Host and origin are looked at before anything else, on every path, known or not; every request is noted."""

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            caller, statuses = _caller(Request(scope)), list[int]()
            uid, by_token = caller.uid(), self._access.has_token(caller)  # while the connection is there to be seen

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                await send(message)

            refused = self._access.reading(caller)
            await (inside if refused is None else _no(refused))(scope, receive, told)
            what = f"{scope['method']} {scope['path']}" if scope["path"] in PATHS else "a path that is not ours"
            status = str(statuses[0]) if statuses else "no answer"
            asked = scope.get("state", {}).get("asked")
            self._recorder.asked(Asking("local service", what, status, uid, None, by_token, asked))

        return door

    async def _health(self, request: Request) -> Response:
        parts = components(self._bot)
        good = all(part.good for part in parts.values())
        shown: dict[str, Json] = {name: part.as_json() for name, part in parts.items()}
        body = {"status": "ok" if good else "bad", "pid": os.getpid(), "components": shown}
        return JSONResponse(body, 200 if good else 503)

    async def _ready(self, request: Request) -> Response:
        ready, why = is_ready(self._bot)
        return JSONResponse({"ready": ready, "why": why}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        return Response(self._figures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _status(self, request: Request) -> Response:
        return JSONResponse({"schema": "perpctl.bot/1", **facts_of(self._bot)})

    async def _positions(self, request: Request) -> Response:
        return JSONResponse({"schema": "perpctl.bot/1", **_some(facts_of(self._bot), "at_ms", "products")})

    async def _orders(self, request: Request) -> Response:
        members = ("at_ms", "orders", "foreign_orders", "unknown_orders")
        return JSONResponse({"schema": "perpctl.bot/1", **_some(facts_of(self._bot), *members)})

    async def _mode(self, request: Request) -> Response:
        state, core = self._bot.gear.latch.read(), self._bot.core
        body = {"mode": core.mode.value, "why": core.mode_why, "who": state.who, "cause": state.cause}
        return JSONResponse({**body, "at_ms": state.at_ms, "risk": state.risk})

    async def _set_mode(self, request: Request) -> Response:
        asked = await _body(request)
        if isinstance(asked, Refused):
            return _no(asked)
        words = [_word(asked, name) for name in ("mode", "who", "reason")]
        request.state.asked = without_secrets(" | ".join(words))
        try:
            mode = Mode(asked.get("mode", ""))
        except ValueError:
            return _no(Refused(400, f"mode is one of {', '.join(Mode)}"))
        lowers = mode is not Mode.NORMAL  # the latch is only tightened: what holds tighter stays
        caller = _caller(request)
        refused = self._access.lowering(caller) if lowers else self._access.raising(caller)
        if refused is not None:
            return _no(refused)
        return await (self._lower(mode, asked) if lowers else self._raise(asked))

    async def _lower(self, mode: Mode, asked: dict[str, Any]) -> Response:
        """The latch first; the answer only when our entries are read back gone."""
        who, why = _word(asked, "who") or "local api", _word(asked, "reason") or "asked over the local service"
        try:
            self._bot.enter_mode(mode, who, why, cause="human")
        except PerpctlError as failed:
            return JSONResponse({"error": f"NOT CONFIRMED: {failed.message}", "next": ["perpctl kill"]}, 503)
        try:
            read_back = await asyncio.wait_for(asyncio.shield(self._bot.clear_entries()), WAIT_S)
        except TimeoutError:
            read_back = ReadBack(False, 0)
        return JSONResponse(self._told(read_back), 200 if read_back.proven else 503)

    def _told(self, read_back: ReadBack) -> dict[str, Json]:
        facts: dict[str, Json] = {
            "mode": self._bot.core.mode.value,
            "read_back": read_back.proven,
            "entries_cancelled": read_back.cancelled,
            "stops_kept": len(read_back.stops),
        }
        if not read_back.proven:
            facts["error"] = "NOT CONFIRMED: the latch is written, the entries were not read back gone within 2 s"
            facts["next"] = ["perpctl cancel-all", "perpctl orders"]
        return facts

    async def _raise(self, asked: dict[str, Any]) -> Response:
        """Back to more risk: with a reason, and out of an operational reduce-only alone; the rest is for `resume`."""
        who, reason, state = _word(asked, "who") or "local api", _word(asked, "reason"), self._bot.gear.latch.read()
        if not reason.strip():
            return _no(Refused(400, "what raises risk takes a reason"))
        if objections := self._objections(state):
            return JSONResponse({"error": "; ".join(objections), "next": ["perpctl resume"]}, 409)
        at_ms = to_ms(self._bot.gear.clock.now())
        try:
            self._bot.gear.latch.write(LatchState(Mode.NORMAL, who, reason, at_ms, "human"), seen=state)
        except WorldChanged as changed:
            return _no(Refused(409, changed.message))
        self._bot.look_at_latch()
        return JSONResponse({"mode": self._bot.core.mode.value, "read_back": True})

    def _objections(self, state: LatchState) -> list[str]:
        """What `resume` would hold against it, as far as the bot itself can tell."""
        bot, core = self._bot, self._bot.core
        pnl = core.day.pnl_pct(core.worth(worse=True), core.market_ms)
        age = None if core.reconciled_at is None else bot.gear.clock.monotonic() - core.reconciled_at
        sick = [name for name, part in components(bot).items() if not part.good and name != "mode"]
        found = {
            f"the latch holds {state.mode.value}: {state.why}": state.risk or state.mode is Mode.HALTED,
            "the result of the day is at or past the reduce line, or not known": (
                mode_after_resume(pnl, core.rules.limits) is not Mode.NORMAL
            ),
            "not reconciled within 5 min": age is None or age > RECONCILED_S,
            f"not healthy: {', '.join(sick)}": bool(sick),
            f"fenced by {bot.fenced}": bot.fenced is not None,
        }
        pending = [f"kill {one.kill_id} is pending" for one in unfinished(bot.gear.latch.path.parent)]
        return [words for words, holds in found.items() if holds] + pending


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


def _some(facts: dict[str, Json], *names: str) -> dict[str, Json]:
    return {name: facts[name] for name in names}


def _word(asked: dict[str, Any], name: str) -> str:
    value = asked.get(name)
    return value[:200] if isinstance(value, str) else ""


def _no(refused: Refused) -> Response:
    return JSONResponse({"error": refused.reason}, refused.status)
