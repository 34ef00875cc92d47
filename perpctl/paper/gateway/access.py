"""This file decides who may call, and how often: JWTs checked, tokens issued, scopes and request credits."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from perpctl.paper.gateway.rpc import RpcError
from perpctl.paper.keys import BadToken, Keys, verify

HTTP_LIFE_S = 900  # observed on the real gateway
SOCKET_LIFE_S = 3000
_TRADE_READS = ("private/get_", "private/simulate", "private/pme/")


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may do what until when (wall seconds)."""

    key_name: str
    account: int
    scopes: frozenset[str]
    expires_s: float
    sid: str

    @property
    def scope_text(self) -> str:
        return " ".join(f"rat#{scope}" for scope in ("view", "trade", "transfer") if scope in self.scopes)


class TokenStore:
    """Access tokens for HTTP; a WebSocket carries its own Grant instead."""

    def __init__(self, keys: Keys, seed: int) -> None:
        self._keys = keys
        self._random = random.Random(seed)  # noqa: S311 - repeatable simulations; guards play money on loopback
        self._grants: dict[str, Grant] = {}

    def grant(self, token: str, life_s: float, wall_s: float) -> Grant:
        """Access for the signer of a JWT."""
        try:
            key, _ = verify(token, self._keys, wall_s)  # `uri` and `aud` are ignored: the SDK sends none
        except BadToken as why:
            raise RpcError("invalid_credentials") from why
        return Grant(key.name, key.account, key.scopes, wall_s + life_s, self._draw(16))

    def issue(self, grant: Grant, life_s: int, wall_s: float) -> dict[str, object]:
        """An HTTP access token for a grant; the answer of public/auth."""
        self._grants = {name: held for name, held in self._grants.items() if held.expires_s > wall_s}
        access = self._draw(64)
        self._grants[access] = grant
        return {
            "access_token": access,
            "enabled_features": [],
            "expires_in": life_s,
            "refresh_token": self._draw(32),  # shown as the docs show it; nothing accepts it
            "scope": grant.scope_text,
            "token_type": "bearer",
        }

    def check(self, authorization: str, wall_s: float) -> Grant:
        """The Grant behind an Authorization header. Raises RpcError 10000 when absent, 13009 when wrong or expired."""
        if not authorization:
            raise RpcError("authorization_required")
        scheme, _, access = authorization.partition(" ")
        grant = self._grants.get(access.strip())
        if scheme.lower() != "bearer" or grant is None or grant.expires_s <= wall_s:
            raise RpcError("unauthorized")
        return grant

    def revoke(self, sid: str) -> None:
        """Forget a session's token."""
        self._grants = {name: held for name, held in self._grants.items() if held.sid != sid}

    def expire_all(self) -> None:
        """Make every outstanding token an expired one."""
        self._grants = {name: replace(held, expires_s=0.0) for name, held in self._grants.items()}

    def _draw(self, length: int) -> str:
        return f"{self._random.getrandbits(length * 4):0{length}x}"


def require_scope(method: str, grant: Grant) -> None:
    """Raises RpcError 13021 when the key may not call this: reads want view, money transfer, everything else trade."""
    reading = method.startswith(_TRADE_READS) or method in _SESSION_METHODS
    wanted = "view" if reading else "transfer" if method.startswith("private/submit_transfer") else "trade"
    if wanted not in grant.scopes:
        raise RpcError("forbidden")


_SESSION_METHODS = ("private/subscribe", "private/unsubscribe", "private/unsubscribe_all", "private/logout")


MATCHING = frozenset(
    f"private/{name}"
    for name in ("buy", "sell", "edit", "edit_by_label", "cancel", "cancel_by_label", "close_position")
)


@dataclass(frozen=True, slots=True)
class Pool:
    """`rate` requests a second on average, `burst` at once."""

    rate: float
    burst: float


# Deribit docs, rate limits: the lowest tier, and the example object for the cancel_all family.
POOLS = {
    "non_matching": Pool(20, 100),
    "matching": Pool(5, 20),
    "cancel_all": Pool(200, 250),
    "get_instruments": Pool(1, 50),
    "subscribe": Pool(10 / 3, 10),
    "transaction_log": Pool(1, 8),
}


def pool_of(method: str, has_currency: bool) -> str:
    """The pool that pays for a call; cancel_by_label without a currency is a mass cancel."""
    if method.startswith("private/cancel_all") or (method == "private/cancel_by_label" and not has_currency):
        return "cancel_all"
    if method in MATCHING:
        return "matching"
    name = method.partition("/")[2]
    if name in ("subscribe", "unsubscribe", "unsubscribe_all"):
        return "subscribe"
    return {"get_instruments": "get_instruments", "get_transaction_log": "transaction_log"}.get(name, "non_matching")


class Credits:
    """The pools of every account (and, for calls without one, of every peer address)."""

    def __init__(self) -> None:
        self.enabled = True
        self._left: dict[tuple[object, str], tuple[float, float]] = {}

    def spend(self, owner: object, pool_name: str, wall_s: float) -> None:
        """Take one request's worth. Raises RpcError 10028 when the pool is empty."""
        if not self.enabled:
            return
        pool = POOLS[pool_name]
        left, since = self._left.get((owner, pool_name), (pool.burst, wall_s))
        left = min(pool.burst, left + max(0.0, wall_s - since) * pool.rate)
        if left < 1:
            self._left[owner, pool_name] = (left, wall_s)
            raise RpcError("too_many_requests")
        self._left[owner, pool_name] = (left - 1, wall_s)


def limits() -> dict[str, object]:
    """The `limits` member of an extended account summary."""

    def show(name: str) -> dict[str, object]:
        return {"burst": int(POOLS[name].burst), "rate": int(POOLS[name].rate)}

    return {
        "limits_per_currency": False,
        "non_matching_engine": show("non_matching"),
        "matching_engine": {
            "trading": {"total": show("matching")},
            "spot": show("matching"),
            "quotes": {"burst": 500, "rate": 500},
            "max_quotes": {"burst": 10, "rate": 10},
            "guaranteed_quotes": {"burst": 2, "rate": 2},
            "cancel_all": show("cancel_all"),
        },
    }
