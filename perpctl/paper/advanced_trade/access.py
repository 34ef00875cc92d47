"""This file decides who may call the Advanced Trade face, and how often: JWTs, scopes, request limits."""

from __future__ import annotations

from dataclasses import dataclass

from perpctl.paper.advanced_trade.reading import ApiError, encode, unauthorized
from perpctl.paper.keys import BadToken, Keys, RegisteredKey, verify

HOST = "api.coinbase.com"
PRIVATE_A_SECOND = 30  # per user (older Advanced Trade docs)
PUBLIC_A_SECOND = 10  # per address
AN_HOUR = 10_000  # per key (Coinbase App policy)
HOUR_S = 3600.0
CONNECTIONS_A_SECOND = MESSAGES_A_SECOND = 8  # WebSocket, per address; messages without a JWT


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key signed the request."""

    key: RegisteredKey

    @property
    def account(self) -> int:
        return self.key.account

    @property
    def portfolio(self) -> str:
        return self.key.portfolio


def identify(authorization: str, keys: Keys, request: tuple[str, str, str], wall_s: float) -> Caller:
    """The caller of (method, host, path). Raises ApiError 401.

    `uri` names api.coinbase.com, as every client signs it, or the host that was asked; it has no query.
    """
    method, host, path = request
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorized()
    try:
        key, claims = verify(token.strip(), keys, wall_s)
    except BadToken as why:
        raise unauthorized() from why
    if claims.get("uri") not in (f"{method} {HOST}{path}", f"{method} {host}{path}"):
        raise unauthorized()
    return Caller(key)


def identify_socket(token: str, keys: Keys, wall_s: float) -> Caller:
    """The caller behind a JWT in a WebSocket message, which carries no uri. Raises BadToken."""
    return Caller(verify(token, keys, wall_s)[0])


def require(scope: str, caller: Caller) -> None:
    """Raises ApiError 403 when the key lacks the scope."""
    if scope not in caller.key.scopes:
        raise ApiError(403, "PERMISSION_DENIED", "Missing required scopes")


@dataclass(slots=True)
class _Spent:
    second_ends_s: float = 0.0
    in_second: int = 0
    hour_ends_s: float = 0.0
    in_hour: int = 0


class Limits:
    """Requests counted by second for each user or address, and by hour for each key."""

    def __init__(self) -> None:
        self.enabled = True
        self._spent: dict[str, _Spent] = {}

    def connects(self, peer: str, wall_s: float) -> bool:
        """Whether one more WebSocket of that address may open in this second."""
        return self._in_second(f"connections {peer}", wall_s) <= CONNECTIONS_A_SECOND

    def hears(self, peer: str, wall_s: float) -> bool:
        """Whether one more unauthenticated message of that address is heard in this second."""
        return self._in_second(f"messages {peer}", wall_s) <= MESSAGES_A_SECOND

    def _in_second(self, owner: str, wall_s: float) -> int:
        if not self.enabled:
            return 0
        spent = self._spent.setdefault(owner, _Spent())
        if wall_s >= spent.second_ends_s:
            spent.second_ends_s, spent.in_second = wall_s + 1.0, 0
        spent.in_second += 1
        return spent.in_second

    def spend(self, owner: str, is_private: bool, wall_s: float) -> dict[str, str]:
        """Count one request; returns the headers that say what is left. Raises ApiError 429."""
        if not self.enabled:
            return {}
        most = PRIVATE_A_SECOND if is_private else PUBLIC_A_SECOND
        in_second, spent = self._in_second(owner, wall_s), self._spent[owner]
        if wall_s >= spent.hour_ends_s:
            spent.hour_ends_s, spent.in_hour = wall_s + HOUR_S, 0
        spent.in_hour += 1
        if in_second > most or (is_private and spent.in_hour > AN_HOUR):
            raise TooMany(_headers(most, 0, spent.second_ends_s - wall_s))
        return _headers(most, most - in_second, spent.second_ends_s - wall_s)


class TooMany(ApiError):
    """HTTP 429, with the limit's headers."""

    def __init__(self, headers: dict[str, str]) -> None:
        body = encode({"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]})
        super().__init__(429, "rate_limit_exceeded", body=body)
        self.headers = headers


def _headers(limit: int, left: int, reset_s: float) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(left),
        "x-ratelimit-reset": str(max(1, round(reset_s))),
    }
