"""This file holds the request credits: pools that fill with time and empty with calls."""

from __future__ import annotations

from dataclasses import dataclass

from perpctl.paper.gateway.rpc import RpcError

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
