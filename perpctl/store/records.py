"""What one line of the journal is: its kind, its writer, what it belongs to, and the canonical bytes that are chained.

Canonical JSON is one byte string for one meaning, free of floats and of anything that looks like a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any

import msgspec
from msgspec import Struct

from perpctl.errors import PerpctlError
from perpctl.hiding import looks_secret
from perpctl.model.money import plain

SCHEMA = "perpctl.record/1"
MAX_DEPTH = 32

ENCODER = msgspec.json.Encoder(order="sorted")  # the bytes of json.dumps(sort_keys=True, ensure_ascii=False), no spaces
_SHA256 = hashlib.sha256()  # copied for each line: to look the algorithm up again takes as long as hashing 300 bytes
_AS_THEY_ARE = frozenset({str, int, bool, NoneType})
_MEMBERS: dict[type, tuple[str, ...] | None] = {}  # looked up once for each class

ABSENT = {
    "at_market_ms": "no market time was at hand",
    "boot_id": "this system tells none",
    "clock": "not measured by this process",
    "config_hash": "no configuration file was read",
    "limits_version": "no limits were loaded",
    "account_id": "the venue was not asked yet",
    "bot_id": "not written by a bot",
    "epoch": "no lease is held",
    "slot": "cross margin",
    "identity": "the venue told none",
    "order": "the answer did not hold it",
    "ours": "the key that tells was not at hand",
    "contracts": "sized in base coin",
    "contract_size": "sized in base coin",
    "max_size": "the venue does not tell it",
    "margin_window": "this venue has one margin for all hours",
    "failed": "it did not fail",
    "confirmed": "nobody was asked",
    "lease_epoch": "sent without a lease, as only what lowers risk may be",
    "lease_left_ms": "sent without a lease, as only what lowers risk may be",
    "book": "the book was not looked at",
    "day_pnl": "not followed by this process",
    "day_baseline": "not followed by this process",
    "slippage": "it waits for a price",
    "impact": "it waits for a price, or the book was not seen so deep",
    "arrival_price": "no intent of ours tells where the market was",
    "slippage_bp": "no intent of ours tells where the market was",
    "expires_at": "good until cancelled",
    "client_id": "trades for own account",
    "operator_id": "decided by an algorithm",
    "algorithm_id": "decided by a person",
    "algorithm_version": "decided by a person",
    "strategy": "no strategy asked for it",
    "strategy_params_hash": "no strategy asked for it",
    "signal": "no strategy asked for it",
    "first_refusal": "nothing was refused",
    "usdc_usd": "no rate between the two is read: nothing is converted",
    "state_before": "not recorded before",
    "decided_in_s": "nobody was asked",
    "plan_shown": "nobody was asked",
    "typed_confirmation": "nothing was to be typed",
    "profile_variable": "PERPCTL_PROFILE is not set",
    "connection_id": "one of a pool",
    "http_status": "not over HTTP",
    "venue_date": "the answer had no Date header",
    "venue_in_us": "this venue tells no times of its own but the Date header",
    "venue_out_us": "this venue tells no times of its own but the Date header",
    "key_id": "a call without a key",
    "out_ms": "it was not lost before",
    "not_offered": "it is offered",
    "changed": "not known before",
    "uid": "the kernel shows no owner of the connection",
    "pid": "told for the control socket only",
    "asked": "it only looked",
}
ABSENT_IN = {
    "request": "not asked for",
    "options": "not asked for",
    "order": "the venue did not tell",
    "fill": "the venue did not tell",
    "payment": "the venue did not tell",
    "operator": "not so, or not told by this system",
    "looks": "not so, or not told by this system",
    "attempt": "not observed",
    "tries": "not observed",
    "controls": "does not apply",
    "connection": "it did not come so far, or ended without",
    "read_anew": "a channel of the market",
    "row": "the venue does not tell it",
    "inputs": "the venue did not tell",
    "instrument": "not told",
    "exposure_before": "a price is missing",
}


ADOPTS = "adopts"  # member of an operator's note: the order of a stranger that he answers for


class Kind(StrEnum):
    """Every kind of event that we remember."""

    RUN_STARTED = "run.started"
    RUN_STOPPED = "run.stopped"
    MODE_CHANGED = "mode.changed"
    LEASE_TAKEN = "lease.taken"
    ORDER_INTENDED = "order.intended"
    ORDER_SENT = "order.sent"
    ORDER_CONFIRMED = "order.confirmed"
    ORDER_REFUSED = "order.refused"
    ORDER_UNKNOWN = "order.unknown"
    ORDER_SETTLED = "order.settled"
    ORDER_SEEN = "order.seen"
    CANCEL_INTENDED = "cancel.intended"
    CANCEL_CONFIRMED = "cancel.confirmed"
    CANCEL_REFUSED = "cancel.refused"
    CANCEL_UNKNOWN = "cancel.unknown"
    FILL_BOOKED = "fill.booked"
    FUNDING_BOOKED = "funding.booked"
    FUNDING_SAMPLED = "funding.sampled"
    GATE_REFUSED = "gate.refused"
    CORRECTION_BOOKED = "correction.booked"
    PLAN_STARTED = "plan.started"
    STEP_DONE = "step.done"
    PLAN_ENDED = "plan.ended"
    PLAN_REFUSED = "plan.refused"
    KEY_SWITCHED = "key.switched"
    ALERT_RAISED = "alert.raised"
    ALERT_ACKNOWLEDGED = "alert.acknowledged"
    ALERT_CLEARED = "alert.cleared"
    OPERATOR_NOTED = "operator.noted"
    RECONCILE_ENDED = "reconcile.ended"
    BASELINE_TAKEN = "baseline.taken"
    CONNECTION_OPENED = "connection.opened"
    CONNECTION_CLOSED = "connection.closed"
    FEED_LOST = "feed.lost"
    FEED_RESUMED = "feed.resumed"
    DEAD_MAN_READ = "dead_man.read"
    INSTRUMENT_SEEN = "instrument.seen"
    TRANSFER_SEEN = "transfer.seen"
    MARGIN_CHANGED = "margin.changed"
    ACCESS_LOGGED = "access.logged"
    LOOKS_TAKEN = "looks.taken"
    HEAD_SIGNED = "head.signed"


class Writer(Struct, frozen=True):
    """Who writes: repeated on every record, so that each one answers for itself years later."""

    who: str  # operator id, or the algorithm's
    process: str  # run, cancel-all, reconcile ...
    host: str
    pid: int
    version: str
    env: str  # paper | live
    venue: str  # global | us
    profile: str
    build_hash: str | None = None
    config_hash: str | None = None
    limits_version: str | None = None
    account_id: str | None = None  # as the venue reported it
    bot_id: str | None = None
    epoch: int | None = None


class Correlation(Struct, frozen=True):
    """What a record belongs to; one query by any of these gives the story."""

    intent_id: str | None = None  # the identity of the order
    parent_id: str | None = None
    plan_id: str | None = None
    kill_id: str | None = None
    incident_id: str | None = None
    alert_id: str | None = None

    def as_json(self) -> dict[str, str]:
        """The members that are there."""
        return {name: value for name in _CORRELATIONS if (value := getattr(self, name)) is not None}


_CORRELATIONS = Correlation.__struct_fields__
NO_CORRELATION = Correlation()


class Record(msgspec.Struct, frozen=True):
    """One line of the journal; `canonical` is the bytes as written, `hash` SHA-256 over prev_hash and those bytes."""

    seq: int
    kind: Kind
    at: datetime  # wall time, UTC, microseconds
    at_market_ms: int | None
    at_mono_ns: int
    boot_id: str | None
    writer: Mapping[str, Any]
    correlation: Correlation
    body: Mapping[str, Any]
    prev_hash: bytes
    hash: bytes
    canonical: bytes


def link(prev_hash: bytes, canonical: bytes) -> bytes:
    """The hash that chains a record to the one before it."""
    chained = _SHA256.copy()
    chained.update(prev_hash)
    chained.update(canonical)
    return chained.digest()


def parse(canonical: bytes, prev_hash: bytes, own_hash: bytes) -> Record:
    """A record from its stored bytes. Raises ValueError when they are not a record of ours."""
    try:
        head = msgspec.json.decode(canonical)
        return Record(
            seq=head["seq"],
            kind=Kind(head["kind"]),
            at=datetime.fromisoformat(head["at_utc"]).astimezone(UTC),
            at_market_ms=head["at_market_ms"],
            at_mono_ns=head["at_mono_ns"],
            boot_id=head["boot_id"],
            writer=head["writer"],
            correlation=Correlation(**head["correlation"]),
            body=head["body"],
            prev_hash=prev_hash,
            hash=own_hash,
            canonical=canonical,
        )
    except (KeyError, TypeError, msgspec.DecodeError) as damage:
        raise ValueError(f"not a journal record: {damage!r}") from None


class SecretRefused(PerpctlError):
    """A record would have held something that looks like a key or a token."""


def plain_json(value: object, depth: int = 0) -> Any:
    """The value as JSON knows it: decimals as text without exponent, aware times as ISO 8601 UTC, enums by value,
    structs, dataclasses and named tuples as objects.

    Raises ValueError for floats, naive times, numbers that are not finite, keys that are not text and absurd depth.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, Decimal):
        return _decimal(value)
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    deeper = depth + 1
    if type(value) is dict or isinstance(value, Mapping):
        return {
            name if type(name) is str else _key(name): one if type(one) in _AS_THEY_ARE else plain_json(one, deeper)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [plain_json(member, deeper) for member in value]
    if (names := _members(value)) is not None:
        return {name: plain_json(getattr(value, name), deeper) for name in names}
    if isinstance(value, tuple):
        return [plain_json(member, deeper) for member in value]
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Enum):
        return plain_json(value.value, deeper)
    if isinstance(value, str | int):
        return str(value) if isinstance(value, str) else int(value)
    raise ValueError(f"not for a record: {type(value).__name__} {value!r}")


def _members(value: object) -> tuple[str, ...] | None:
    """The names of the members of a struct, a dataclass or a named tuple; None for anything else."""
    kind: type = type(value)
    if kind not in _MEMBERS:
        if isinstance(value, Struct):
            _MEMBERS[kind] = value.__struct_fields__
        elif is_dataclass(kind):
            _MEMBERS[kind] = tuple(one.name for one in fields(kind))
        else:
            _MEMBERS[kind] = getattr(value, "_fields", None)
    return _MEMBERS[kind]


def encode(plain_value: object) -> bytes:
    """Canonical bytes of what `plain_json` returned: sorted keys, no spaces, UTF-8.

    Raises SecretRefused, naming no part of the secret.
    """
    encoded = ENCODER.encode(plain_value)
    if looks_secret(encoded.decode()):  # text is searched faster than bytes
        raise SecretRefused(
            "The record holds something that looks like a private key or a token.", not_done="Nothing was recorded."
        )
    return encoded


def checked(plain_value: object) -> msgspec.Raw:
    """A part of a record, encoded, to stand in the whole as it is. Raises SecretRefused."""
    return msgspec.Raw(encode(plain_value))


def absent_reasons(plain_value: Mapping[str, Any], path: str) -> dict[str, str]:
    """Why each null in it is one, by dotted name from `path` on; the members of a list share theirs."""
    found: dict[str, str] = {}
    _explain(plain_value, path, found)
    return found


def _explain(value: Mapping[str, Any] | list[Any], path: str, found: dict[str, str]) -> None:
    if isinstance(value, list):
        for member in value:
            if member is None:
                found[path] = _reason(path)
            elif type(member) is dict or type(member) is list:
                _explain(member, path, found)
        return
    for name, member in value.items():
        if member is None:
            found[f"{path}.{name}"] = _reason(f"{path}.{name}")
        elif type(member) is dict or type(member) is list:
            _explain(member, f"{path}.{name}", found)


@lru_cache(maxsize=4096)
def _reason(path: str) -> str:
    *sections, name = path.split(".")
    if name in ABSENT:
        return ABSENT[name]
    return next((ABSENT_IN[section] for section in reversed(sections) if section in ABSENT_IN), "not at hand")


def iso(at: datetime) -> str:
    """UTC with microseconds and Z; such texts sort as the times do. Raises ValueError for a naive time."""
    if at.tzinfo is UTC:
        return at.isoformat(timespec="microseconds")[:-6] + "Z"
    offset = at.utcoffset()
    if offset is None:
        raise ValueError("a time without a zone")
    return (at - offset).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"not a finite number: {value}")
    return plain(value)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ValueError(f"not a member name: {key!r}")
    return str(key.value) if isinstance(key, Enum) else str(key)
