"""This file reads the account documents: who we are, what we own, which limits and slots we have."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from perpctl.exchange.budget import Limit, Pool
from perpctl.exchange.gateway import wire
from perpctl.exchange.port import Identity
from perpctl.model.position import Account, Position

_POOLS = {
    Pool.NON_MATCHING: ("non_matching_engine",),
    Pool.MATCHING: ("matching_engine", "trading", "total"),
    Pool.CANCEL_ALL: ("matching_engine", "cancel_all"),
}


class Moment(Struct, frozen=True):
    """When a document arrived: market time as far as known, and our monotonic counter."""

    at_ms: int
    seen: float


def identity(result: object) -> Identity:
    """From an extended account summary."""
    row = wire.row_of(result, "the account summary")
    name = row.get("username")
    return Identity(str(wire.whole(row, "id")), name if isinstance(name, str) and name else None)


def summary_of(result: object, currency: str) -> wire.Row:
    """The row of one currency in `private/get_account_summaries`."""
    rows = wire.rows_of(wire.row_of(result, "the summaries").get("summaries"), "summaries")
    for row in rows:
        if str(row.get("currency")).upper() == currency:
            return row
    raise wire.Malformed(f"no summary in {currency}")


def account(result: object, currency: str, positions: Sequence[Position], moment: Moment) -> Account:
    """The money in `private/get_account_summaries` with isolated slots included."""
    who, row = identity(result), summary_of(result, currency)
    rate, burst = _limit(row, _POOLS[Pool.MATCHING])
    model = row.get("margin_model")
    return Account(
        account_id=who.account_id,
        username=who.username,
        currency=currency,
        balance=wire.need_number(row, "balance"),
        equity=wire.need_number(row, "equity"),
        available=wire.number(row, "available_funds"),
        initial_margin=wire.need_number(row, "initial_margin"),
        maintenance_margin=wire.need_number(row, "maintenance_margin"),
        session_realized=wire.number(row, "session_rpl"),
        session_unrealized=wire.number(row, "session_upl"),
        margin_model=model if isinstance(model, str) else None,
        slots_in_use=len({position.slot for position in positions if position.slot is not None}),
        engine_rate=rate,
        engine_burst=burst,
        at_ms=moment.at_ms,
        seen=moment.seen,
    )


def limits(row: wire.Row) -> dict[Pool, Limit]:
    """The request limits in a summary; pools that it does not speak of are left out."""
    found = {pool: _limit(row, path) for pool, path in _POOLS.items()}
    return {pool: Limit(rate, burst) for pool, (rate, burst) in found.items() if rate and burst}


def _limit(row: wire.Row, path: tuple[str, ...]) -> tuple[int | None, int | None]:
    step: object = row.get("limits")
    for name in path:
        step = step.get(name) if isinstance(step, dict) else None
    if not isinstance(step, dict):
        return None, None
    rate, burst = wire.number(step, "rate"), wire.number(step, "burst")
    return (None if rate is None else int(rate)), (None if burst is None else int(burst))


def subaccount_ids(result: object) -> frozenset[int]:
    """The ids in `private/get_subaccounts`."""
    return frozenset(wire.whole(row, "id") for row in wire.rows_of(result, "subaccounts"))


def locked_word(result: object) -> str:
    """The venue's own word for how much of it is locked; documents show a flag, schemas a word."""
    value = wire.row_of(result, "the status").get("locked")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value in ("true", "partial", "false"):
        return str(value)
    raise wire.Malformed(f"locked is {value!r}")


def announcements(result: object) -> tuple[str, ...]:
    """The titles, newest first as the venue sends them."""
    return tuple(str(row.get("title") or row.get("body") or "") for row in wire.rows_of(result, "announcements"))
