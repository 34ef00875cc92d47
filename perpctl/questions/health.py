"""This file asks the running bot's local service how it is, and says so when nothing answers."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from perpctl.errors import ExitCode
from perpctl.results import Answer, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk

DEADLINE_S = 5.0
MAX_BODY = 1 << 20


class NobodyAnswers(Exception):
    """Nothing that speaks our health document listens there."""


async def health(desk: Desk) -> Answer:
    """Each component with its age. Exit 0 healthy, 1 not healthy or nothing listening."""
    address, _ = card_of(desk)
    try:
        status, document = await ask(desk)
    except NobodyAnswers as why:
        return _silence(desk, address, str(why))
    components = document.get("components", {})
    rows = tuple(_row(name, component) for name, component in sorted(components.items()))
    good = status == 200
    view = (
        Line(f"{'HEALTHY' if good else 'NOT HEALTHY'}   asked {address}/health", Tone.GOOD if good else Tone.BAD),
        Line(""),
        Table(_COLUMNS, rows, "the service names no component"),
        Next(() if good else tuple(f"perpctl -p {desk.settings.profile} {then}" for then in ("status", "positions"))),
    )
    facts: dict[str, Json] = {"healthy": good, "address": address, "components": components}
    code = ExitCode.OK if good else ExitCode.NEGATIVE
    return Answer("perpctl.health/1", desk.known_scope(), facts, view, code, standing=desk.standing())


async def ask(desk: Desk) -> tuple[int, Mapping[str, Any]]:
    """The health document of this profile's own bot, with its HTTP status. Raises NobodyAnswers, also for another's."""
    address, pid = card_of(desk)
    status, document = await asyncio.to_thread(fetch, address, "/health")
    if pid is None or document.get("pid") != pid:
        raise NobodyAnswers("something else listens there: it is not the bot of this profile")
    return status, document


def card_of(desk: Desk) -> tuple[str, int | None]:
    """Where the bot's service is and its pid, as the bot recorded them; else the configured port and None: no bot."""
    try:
        recorded = json.loads((desk.settings.state_dir / "local_api.json").read_text())
        return str(recorded["url"]), int(recorded["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"http://127.0.0.1:{desk.settings.local_api_port}", None


def fetch(address: str, path: str) -> tuple[int, Mapping[str, Any]]:
    """One document of the local service. Raises NobodyAnswers."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port or 80, timeout=DEADLINE_S)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        document = json.loads(answer.read(MAX_BODY))
    except (OSError, http.client.HTTPException) as why:
        raise NobodyAnswers(getattr(why, "strerror", None) or str(why) or type(why).__name__) from None
    except ValueError:
        raise NobodyAnswers("something else listens there: its answer is not a health document") from None
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise NobodyAnswers("something else listens there: its answer is not a health document")
    return answer.status, document


_COLUMNS = (
    Column("component", "COMPONENT"),
    Column("state", "STATE"),
    Column("age", "AGE", True),
    Column("detail", "DETAIL"),
)


def _row(name: str, component: Mapping[str, Any]) -> Row:
    state, age = str(component.get("status", "?")), component.get("age_s")
    cells = {
        "component": name,
        "state": state,
        "age": "" if age is None else f"{age} s",
        "detail": str(component.get("detail") or ""),
    }
    return Row(cells, tone=Tone.PLAIN if state == "ok" else Tone.BAD)


def _silence(desk: Desk, address: str, why: str) -> Answer:
    name = desk.settings.profile
    view = (
        Line(f"NOTHING ANSWERS at {address} ({why})", Tone.BAD, mark=True),
        Line("no bot of this profile serves there; positions and orders are at the venue all the same"),
        Next((f"perpctl -p {name} status", f"perpctl -p {name} positions", f"perpctl -p {name} run")),
    )
    facts: dict[str, Json] = {"healthy": None, "address": address, "cause": why}
    return Answer("perpctl.health/1", desk.known_scope(), facts, view, ExitCode.NEGATIVE, standing=desk.standing())
