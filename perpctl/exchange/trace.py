"""This file tells what goes to the venue and what comes back, for debugging: never a key, a token or a signature."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any

from perpctl.hiding import HIDDEN, without_secrets

API = logging.getLogger("perpctl.api")
WEBSOCKET = logging.getLogger("perpctl.websocket")
LONGEST = 2000  # characters of one message
_DEBUG = logging.DEBUG
_known: deque[str] = deque(maxlen=32)  # secrets by value: an error may quote one under any name
_SECRETS = ("token", "secret", "signature", "password", "authorization", "private", "jwt", "pem", "nonce")


def hide(secret: str) -> None:
    """From here on this text is shown nowhere."""
    if secret not in _known:
        _known.append(secret)


def asked(way: str, method: str, body: bytes) -> None:
    """A call that is about to leave."""
    if API.isEnabledFor(_DEBUG):
        API.debug("-> %s %s %s", way, method, shown(body))


def answered(way: str, method: str, body: bytes | Mapping[str, Any], status: int | None = None) -> None:
    """The venue's answer to a call."""
    if API.isEnabledFor(_DEBUG):
        API.debug("<- %s %s %s%s", way, method, "" if status is None else f"{status} ", shown(body))


def repeats(why: BaseException | None, pause_s: float) -> None:
    """A read failed and will be tried again."""
    API.debug("failed, again in %.3f s: %s", pause_s, _cleaned(str(why)))


def frame(direction: str, content: bytes | str) -> None:
    """One frame of a socket."""
    if WEBSOCKET.isEnabledFor(_DEBUG):
        WEBSOCKET.debug("%s %s", direction, shown(content))


def shown(content: bytes | str | Mapping[str, Any], longest: int = LONGEST) -> str:
    """As it may be shown: secrets hidden, cut when long. What cannot be read is not shown: it may hold anything."""
    if isinstance(content, bytes | str):
        try:
            content = json.loads(content, parse_float=str)
        except (ValueError, RecursionError):
            return f"[{len(content)} bytes that are no JSON]"
    text = _cleaned(json.dumps(_without_secrets(content), separators=(",", ":"), default=str))
    return text if len(text) <= longest else f"{text[:longest]}[and {len(text) - longest} more]"


def kept(content: bytes | str, longest: int) -> str:
    """As it may be kept for years: what only looks like a secret hides it all."""
    return without_secrets(shown(content, longest))


def _cleaned(text: str) -> str:
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return text


def _without_secrets(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: HIDDEN if _is_secret(key) else _without_secrets(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_secrets(one) for one in content]
    return content


def _is_secret(key: object) -> bool:
    word = str(key).lower()
    return any(secret in word for secret in _SECRETS)
