"""This file knows the gateway's methods: which act, and which purse pays."""

from __future__ import annotations

from collections.abc import Mapping

from perpctl.exchange.budget import Pool

CREATES = frozenset({"private/buy", "private/sell", "private/close_position"})
_ENGINE = CREATES | {"private/edit", "private/edit_by_label", "private/cancel", "private/cancel_by_label"}
_OWN_PURSE = {
    "public/get_instruments": Pool.INSTRUMENTS,
    "private/get_transaction_log": Pool.LEDGER,
    "public/subscribe": Pool.SUBSCRIBE,
    "private/subscribe": Pool.SUBSCRIBE,
    "public/unsubscribe": Pool.SUBSCRIBE,
    "private/unsubscribe": Pool.SUBSCRIBE,
}


def pool_of(method: str, params: Mapping[str, object]) -> Pool:
    """The purse a call draws on; a cancel by label without a currency is a mass cancel (Deribit docs, rate limits)."""
    if method.startswith("private/cancel_all") or (method == "private/cancel_by_label" and "currency" not in params):
        return Pool.CANCEL_ALL
    if method in _ENGINE:
        return Pool.MATCHING
    return _OWN_PURSE.get(method, Pool.NON_MATCHING)


def acts(method: str) -> bool:
    """Whether a lost answer leaves it open what happened: never repeated, settled by reads."""
    return method in _ENGINE or method.startswith("private/cancel_all")
