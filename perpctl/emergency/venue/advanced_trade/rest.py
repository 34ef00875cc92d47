"""This file sends one signed request to Advanced Trade and reads the answer: an object, a refusal, or no answer."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlencode, urlsplit

from perpctl.emergency.venue.dates import http_date
from perpctl.emergency.venue.document import Row
from perpctl.emergency.venue.port import Meaning, Said
from perpctl.emergency.venue.signing import Key, make_token
from perpctl.emergency.venue.wire import HttpAnswer, Line, NoAnswer
from perpctl.emergency.world import World
from perpctl.errors import CredentialError

HOST = "api.coinbase.com"  # what every token names, whichever address the request goes to (Coinbase SDK)
CALL_S = 2.0
A_SECOND = 28  # 30 are taken from a user (older Advanced Trade docs); the bot's last ones may still count
Query = Sequence[tuple[str, str]]
Send = Callable[[Mapping[str, str]], HttpAnswer]
_THROTTLES = ("rate_limit_exceeded", "resource_exhausted")


class Rest:
    """Requests with one key, a fresh token for each."""

    def __init__(self, line: Line, base_url: str, world: World) -> None:
        self.line = line
        self.key: Key | None = None
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._world = world
        self._offset_s = 0.0  # the venue's HTTP clock less ours, for signatures
        self._lately: deque[float] = deque(maxlen=A_SECOND)  # when the last requests were let go
        self._lock = threading.Lock()

    def get(self, path: str, query: Query = (), seconds: float = CALL_S) -> Row:
        """The object that a read answers. Raises Said, NoAnswer, CredentialError."""
        asked = f"{path}?{urlencode(query)}" if query else path
        return self._signed("GET", path, lambda headers: self.line.get(asked, headers, seconds))

    def post(self, path: str, body: Mapping[str, object], seconds: float = CALL_S) -> Row:
        """The object that a write answers; it is sent a second time only after the venue has refused our token."""
        content = json.dumps(body).encode()
        return self._signed("POST", path, lambda headers: self.line.post(path, content, headers, seconds))

    def _signed(self, method: str, path: str, send: Send) -> Row:
        for attempt in (1, 2):
            self._await_turn()
            answer = send(self._headers(f"{method} {HOST}{self._prefix}/{path}"))
            self._learn_clock(answer)
            if answer.status != 401 or attempt == 2:
                break  # after a 401 nothing was executed, and its Date has set our clock: once more
        return _read(answer)

    def _await_turn(self) -> None:
        """No more than so many in any second: a refusal for asking too often would cost a whole one."""
        with self._lock:
            now = self._world.monotonic()
            turn = max(now, self._lately[0] + 1.0) if len(self._lately) == A_SECOND else now
            self._lately.append(turn)
        if turn > now:
            self._world.sleep(turn - now)

    def _headers(self, uri: str) -> Mapping[str, str]:
        if self.key is None:
            raise CredentialError("not signed in")
        token = make_token(self.key, self._world.wall_s() + self._offset_s, uri)
        return {"Authorization": f"Bearer {token}", "Cache-Control": "no-cache"}

    def _learn_clock(self, answer: HttpAnswer) -> None:
        """Whole seconds, so small means none."""
        try:
            offset = http_date(answer.headers["date"]) - self._world.wall_s()
        except (KeyError, ValueError, IndexError):
            return
        self._offset_s = offset if abs(offset) > 2 else 0.0


def most_ids(why: Said) -> int | None:
    """How many ids the venue takes at a time just now, when that is what it complains about."""
    found = re.search(r"limit is (\d{1,6})", why.message)
    return int(found[1]) if found and int(found[1]) > 0 else None


def _read(answer: HttpAnswer) -> Row:
    said = _object(answer.body)
    if 200 <= answer.status < 300:
        if said is None:
            raise NoAnswer(f"HTTP {answer.status} that is not the API", sent=True)
        return said
    text = "" if said is None else _text(said)
    if answer.status == 429 or any(word in text for word in _THROTTLES):
        raise Said(answer.status, text or "too many requests", Meaning.THROTTLED)
    if answer.status == 401:
        raise CredentialError("HTTP 401 Unauthorized: clock, key file, this address not on the key's list, or no key")
    if answer.status == 403:
        raise Said(403, text, Meaning.MAY_NOT)
    if 400 <= answer.status < 500 and said is not None:
        raise Said(answer.status, text, Meaning.GONE if answer.status == 404 else Meaning.OTHER)
    raise NoAnswer(f"HTTP {answer.status} {text}".strip(), sent=True)


def _object(body: bytes) -> Row | None:
    try:
        content = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _text(said: Row) -> str:
    """The words of a refusal, whichever of its shapes it has."""
    rows = said.get("errors")
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        return " ".join(str(rows[0][name]) for name in ("id", "message") if rows[0].get(name))
    names = ("error", "message", "error_details", "error_description")
    return ": ".join(_once(str(said[name]) for name in names if said.get(name)))


def _once(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(parts))
