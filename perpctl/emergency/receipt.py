"""This file makes the receipt of a kill: what is known of it as signed JSON. The screen shows nothing else."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl.emergency.closing.closer import Closed
from perpctl.emergency.steps import Pursuit
from perpctl.emergency.telling import Told
from perpctl.emergency.venue.port import Execution
from perpctl.errors import ExitCode
from perpctl.model.flatten import Key, key_of
from perpctl.model.money import ZERO, cents, plain
from perpctl.model.order import Order, Side
from perpctl.model.position import Position

SCHEMA = "perpctl.receipt/1"
Facts = Mapping[str, Any]
_FRESH_S = 10.0
_GOOD_LATCH = "written"
AGAINST_US = Decimal("0.03")  # the adverse move that the receipt prices for what still stands


def judge(pursuit: Pursuit) -> ExitCode:
    """0 only when flat is proven, held, latched and of the right account; 6 when what is left is known; else 3."""
    latched = bool(pursuit.latches) and all(outcome == _GOOD_LATCH for outcome in pursuit.latches.values())
    identified = pursuit.venue is not None and pursuit.venue.owner is not None
    hidden = bool(pursuit.broken or pursuit.closer.unsettled or pursuit.trouble or pursuit.liquidation.runs)
    if hidden or not latched or not identified:
        return ExitCode.UNKNOWN
    if pursuit.over and pursuit.proven_at is not None and not pursuit.wish.entries_only:
        return ExitCode.OK
    seen = pursuit.looked_at
    fresh = seen is not None and pursuit.after() - (seen - pursuit.wish.began) < _FRESH_S
    return ExitCode.PARTIAL if fresh else ExitCode.UNKNOWN


def make_receipt(pursuit: Pursuit, told: Told, *, pending: bool) -> dict[str, Any]:
    """Everything that is known of this kill, as JSON facts."""
    wish, target, code = pursuit.wish, pursuit.target, judge(pursuit)
    return {
        "schema": SCHEMA,
        "kill_id": wish.kill_id,
        "env": target.env,
        "venue": target.venue,
        "profile": target.profile,
        "account": _account(pursuit),
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "scope": wish.scope,
        "by": wish.who,
        "command": wish.command,
        "reason": wish.reason,
        "verdict": _verdict(code, pursuit),
        "exit": int(code),
        "pending": pending,
        "after_s": round(pursuit.after(), 2),
        "proven": _proven(pursuit, code),
        "steps": [
            {"step": name, "state": state.state, "after_s": _rounded(state.after_s), "evidence": state.evidence}
            for name, state in pursuit.steps.items()
        ],
        "currency": pursuit.terms.currency,
        "closed": [_closed_row(key, closed, pursuit.contracts) for key, closed in pursuit.closer.closed.items()],
        "margin_buffer": _buffer(pursuit),
        "equity": {"before": _text(pursuit.equity_before), "after": _text(pursuit.equity_after)},
        "unknown": _unknown(pursuit),
        "left": _left(pursuit),
        "latches": {str(path): outcome for path, outcome in pursuit.latches.items()},
        "refused": dict(pursuit.closer.refusals),
        "appeared_in_hold": list(pursuit.broken),
        "notes": _notes(pursuit),
        "told": told.facts(watched=pursuit.record.is_watched),
        "journal": _beside_journal(pursuit),
        "worker": os.getpid(),
    }


def sign(receipt: dict[str, Any], key: bytes | None) -> dict[str, Any]:
    """The receipt with its SHA-256 and, when there is an identity key, an HMAC over the same bytes."""
    content = canonical(receipt)
    signature = hmac.digest(key, content, hashlib.sha256).hex() if key is not None else None
    return {**receipt, "sha256": hashlib.sha256(content).hexdigest(), "hmac": signature}


def is_genuine(receipt: Facts, key: bytes) -> bool:
    """Whether the receipt was signed with this key and not changed since."""
    bare = {name: value for name, value in receipt.items() if name not in ("sha256", "hmac")}
    signature = hmac.digest(key, canonical(bare), hashlib.sha256).hex()
    return hmac.compare_digest(signature, str(receipt.get("hmac")))


def canonical(receipt: Facts) -> bytes:
    """The bytes that are signed: sorted members, no spaces."""
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def save(receipt: Facts, directory: Path) -> str:
    """Keep it under receipts/; returns the path, or why the disk would not take it. Never raises."""
    path = directory / "receipts" / f"{receipt['kill_id']}.json"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(receipt, file, indent=1)
            file.flush()
            os.fsync(descriptor)
    except OSError as why:
        return f"not kept: {path}: {why.strerror}"
    return str(path)


def _proven(pursuit: Pursuit, code: ExitCode) -> Facts | None:
    """When flat was first proven, and for how long it then held; None when it is not proven now."""
    first = pursuit.first_proven
    if first is None or code is not ExitCode.OK:
        return None
    return {
        "at": first.at.isoformat(timespec="milliseconds"),
        "after_s": _rounded(first.after_s),
        "held_s": _rounded(pursuit.after() - first.after_s),
    }


def _buffer(pursuit: Pursuit) -> Facts | None:
    """What may be lost before the venue liquidates, as last read; None: never read."""
    owner = pursuit.venue.owner if pursuit.venue else None
    if owner is None:
        return None
    return {
        "amount": _text(owner.margin_balance - owner.maintenance_margin),
        "liquidated_now": pursuit.liquidation.runs,
    }


def _beside_journal(pursuit: Pursuit) -> Facts:
    """Where the kill wrote down what it did: beside the journal, which may be locked or broken."""
    return {"file": str(pursuit.record.path), "lines": pursuit.record.lines, "trouble": pursuit.record.trouble}


def _verdict(code: ExitCode, pursuit: Pursuit) -> str:
    if code is ExitCode.OK:
        return "PROVEN FLAT"
    if code is ExitCode.PARTIAL:
        return "NOT FLAT" if pursuit.standing and not pursuit.standing.is_flat else "NOT PROVEN YET"
    return "UNKNOWN"


def _account(pursuit: Pursuit) -> Facts:
    venue = pursuit.venue
    owner = venue.owner if venue else None
    if owner is None:
        return {"id": None, "username": None, "pinned": "differs" if "account" in (pursuit.key_trouble or "") else "?"}
    pinned = "pinned" if venue is not None and venue.pin is not None else "not pinned"
    return {"id": owner.account_id, "username": owner.username, "pinned": pinned}


def _closed_row(key: Key, closed: Closed, contracts: Mapping[str, Decimal]) -> Facts:
    """Slippage against the mid when closing began: positive is a cost."""
    done = list(closed.executions.values())
    size = sum((each.fill.size for each in done), ZERO)
    value = sum((each.fill.size * each.fill.price for each in done), ZERO)
    side = Side.SELL if closed.size > 0 else Side.BUY
    average = value / size if size else None
    slip = None if average is None or closed.arrival is None else (average - closed.arrival) * side.sign
    return {
        "product": key[0],
        "slot": key[1],
        "side": side.value,
        "start": plain(closed.size),
        "size": plain(size),
        "contracts": _contracts(size, contracts.get(key[0])),
        "average": None if average is None else plain(average.quantize(Decimal("0.0001"))),
        "arrival": _text(closed.arrival),
        "slippage_bps": None if slip is None or not closed.arrival else _text(slip / closed.arrival * 10_000),
        "slippage": None if slip is None else _text(slip * size),
        "fee": _text(sum((each.fill.fee for each in done), ZERO)),
        "realized": _text(_realized(done)),
        "orders": closed.orders,
    }


def _realized(done: Sequence[Execution]) -> Decimal | None:
    """None where the venue does not tell it of every fill."""
    told = [each.realized for each in done]
    return None if None in told else sum((each for each in told if each is not None), ZERO)


def _unknown(pursuit: Pursuit) -> list[str]:
    found = list(pursuit.closer.unsettled.values())
    if pursuit.trouble:
        found.append(pursuit.trouble)
    if pursuit.broken:
        found.append("who sent what appeared after flat was proven, and whether more comes")
    if pursuit.venue is None or pursuit.venue.owner is None:
        found.append("which account the key reaches")
    if pursuit.liquidation.runs:
        found.append("what the venue's liquidation leaves")
    found += [f"NOT LATCHED: {path}: {outcome}" for path, outcome in pursuit.latches.items() if outcome != _GOOD_LATCH]
    if not pursuit.latches:
        found.append("NOT LATCHED: no latch could be written")
    return found


def _left(pursuit: Pursuit) -> Facts:
    """What stands at the last look; None: never seen."""
    standing, venue = pursuit.standing, pursuit.venue
    owner = venue.owner if venue else None
    return {
        "seen_s_ago": None if pursuit.looked_at is None else _rounded(_age(pursuit)),
        "positions": None if standing is None else [_position_row(each, pursuit) for each in standing.positions],
        "orders": None if standing is None else [_order_row(each) for each in standing.entries + standing.orphans],
        "stops": None if standing is None else [_order_row(each) for each in standing.stops],
        "spot_orders": pursuit.spot_orders,
        "balances": None if owner is None else {coin: plain(amount) for coin, amount in owner.balances.items()},
    }


def _contracts(size: Decimal, contract: Decimal | None) -> str | None:
    """None where sizes are base coin, or nothing tells what a contract is."""
    return None if contract is None else plain((size / contract).to_integral_value())


def _age(pursuit: Pursuit) -> float:
    assert pursuit.looked_at is not None
    return pursuit.after() - (pursuit.looked_at - pursuit.wish.began)


def _position_row(position: Position, pursuit: Pursuit) -> Facts:
    """What is held; `stops`: at which trigger prices protective orders of this position rest."""
    notional = position.notional
    stops = pursuit.standing.stops if pursuit.standing else ()
    return {
        "product": position.product_id,
        "slot": position.slot,
        "size": plain(position.size),
        "contracts": _contracts(position.size, pursuit.contracts.get(position.product_id)),
        "notional": _text(notional),
        "against_us": None if notional is None else _text(cents(-AGAINST_US * abs(notional))),
        "stops": [_text(each.trigger_price) for each in stops if key_of(each) == key_of(position)],
    }


def _order_row(order: Order) -> Facts:
    return {
        "order_id": order.order_id,
        "product": order.product_id,
        "side": order.side.value,
        "remaining": plain(order.remaining),
        "type": order.type.value,
        "price": _text(order.price),
        "trigger_price": _text(order.trigger_price),
    }


def _notes(pursuit: Pursuit) -> list[str]:
    notes = list(pursuit.venue.notes) if pursuit.venue else []
    if pursuit.record.trouble:
        notes.append(pursuit.record.trouble)
    if pursuit.wish.scope != "account":
        notes.append(f"positions of the whole account: {_whole(pursuit)}")
    if pursuit.waits:
        notes.append(pursuit.waits)
    if (at := pursuit.target.settings_at_ms) is not None and at > 0:
        notes.append(f"settings as validated {datetime.fromtimestamp(at / 1000, UTC):%d %b %Y %H:%M:%S} UTC")
    if pursuit.wish.identity_key is None:
        notes.append("identity.key could not be read: this receipt is not signed, ours and not ours not told apart")
    return notes


def _whole(pursuit: Pursuit) -> str:
    held = [f"{plain(each.size)} {each.product_id}" for each in pursuit.whole if each.size != 0]
    return ", ".join(held) or "none"


def _text(number: Decimal | None) -> str | None:
    if number is None:
        return None
    return plain(number.quantize(Decimal("0.01")) if number.as_tuple().exponent < -4 else number)  # type: ignore[operator]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
