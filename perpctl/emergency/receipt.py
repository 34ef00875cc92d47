"""This file writes the receipt of a kill: signed JSON, and one screen that shows nothing the JSON does not hold."""

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

from perpctl.emergency.closer import Closed
from perpctl.emergency.steps import Pursuit
from perpctl.errors import ExitCode
from perpctl.model.flatten import Key
from perpctl.model.money import ZERO, plain
from perpctl.model.order import Order, Side
from perpctl.model.position import Position

SCHEMA = "perpctl.receipt/1"
Facts = Mapping[str, Any]
_FRESH_S = 10.0
_GOOD_LATCH = "written"


def judge(pursuit: Pursuit) -> ExitCode:
    """0 only when flat is proven, held, latched and of the right account; 6 when what is left is known; else 3."""
    latched = bool(pursuit.latches) and all(outcome == _GOOD_LATCH for outcome in pursuit.latches.values())
    identified = pursuit.gateway is not None and pursuit.gateway.owner is not None
    unknown = bool(pursuit.broken or pursuit.closer.unsettled or pursuit.trouble) or not latched or not identified
    if unknown:
        return ExitCode.UNKNOWN
    if pursuit.over and pursuit.proven_at is not None and not pursuit.wish.entries_only:
        return ExitCode.OK
    seen = pursuit.looked_at
    fresh = seen is not None and pursuit.after() - (seen - pursuit.wish.began) < _FRESH_S
    return ExitCode.PARTIAL if fresh else ExitCode.UNKNOWN


def make_receipt(pursuit: Pursuit, *, pending: bool) -> dict[str, Any]:
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
        "steps": [
            {"step": name, "state": state.state, "after_s": _rounded(state.after_s), "evidence": state.evidence}
            for name, state in pursuit.steps.items()
        ],
        "closed": [_closed_row(key, closed) for key, closed in pursuit.closer.closed.items()],
        "equity": {"before": _text(pursuit.equity_before), "after": _text(pursuit.equity_after)},
        "unknown": _unknown(pursuit),
        "left": _left(pursuit),
        "latches": {str(path): outcome for path, outcome in pursuit.latches.items()},
        "refused": dict(pursuit.closer.refusals),
        "appeared_in_hold": list(pursuit.broken),
        "notes": _notes(pursuit),
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


def _verdict(code: ExitCode, pursuit: Pursuit) -> str:
    if code is ExitCode.OK:
        return "PROVEN FLAT"
    if code is ExitCode.PARTIAL:
        return "NOT FLAT" if pursuit.standing and not pursuit.standing.is_flat else "NOT PROVEN YET"
    return "UNKNOWN"


def _account(pursuit: Pursuit) -> Facts:
    gateway = pursuit.gateway
    owner = gateway.owner if gateway else None
    if owner is None:
        return {"id": None, "username": None, "pinned": "differs" if "account" in (pursuit.key_trouble or "") else "?"}
    pinned = "pinned" if gateway is not None and gateway.pin is not None else "not pinned"
    return {"id": owner.account_id, "username": owner.username, "pinned": pinned}


def _closed_row(key: Key, closed: Closed) -> Facts:
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
        "average": None if average is None else plain(average.quantize(Decimal("0.0001"))),
        "arrival": _text(closed.arrival),
        "slippage_bps": None if slip is None or not closed.arrival else _text(slip / closed.arrival * 10_000),
        "slippage": None if slip is None else _text(slip * size),
        "fee": _text(sum((each.fill.fee for each in done), ZERO)),
        "realized": _text(sum((each.realized or ZERO for each in done), ZERO)),
        "orders": closed.orders,
    }


def _unknown(pursuit: Pursuit) -> list[str]:
    found = list(pursuit.closer.unsettled.values())
    if pursuit.trouble:
        found.append(pursuit.trouble)
    found += [f"NOT LATCHED: {path}: {outcome}" for path, outcome in pursuit.latches.items() if outcome != _GOOD_LATCH]
    if not pursuit.latches:
        found.append("NOT LATCHED: no latch could be written")
    return found


def _left(pursuit: Pursuit) -> Facts:
    """What stands at the last look; None: never seen."""
    standing, gateway = pursuit.standing, pursuit.gateway
    owner = gateway.owner if gateway else None
    return {
        "seen_s_ago": None if pursuit.looked_at is None else _rounded(_age(pursuit)),
        "positions": None if standing is None else [_position_row(each) for each in standing.positions],
        "orders": None if standing is None else [_order_row(each) for each in standing.entries + standing.orphans],
        "stops": None if standing is None else [_order_row(each) for each in standing.stops],
        "spot_orders": pursuit.spot_orders,
        "balances": None if owner is None else {coin: plain(amount) for coin, amount in owner.balances.items()},
    }


def _age(pursuit: Pursuit) -> float:
    assert pursuit.looked_at is not None
    return pursuit.after() - (pursuit.looked_at - pursuit.wish.began)


def _position_row(position: Position) -> Facts:
    return {
        "product": position.product_id,
        "slot": position.slot,
        "size": plain(position.size),
        "notional": _text(position.notional),
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
    notes = list(pursuit.gateway.notes) if pursuit.gateway else []
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


# --- the screen ------------------------------------------------------------------------------------------------------


def screen(receipt: Facts) -> str:
    """The receipt as an operator reads it."""
    lines = [_headline(receipt), _whose(receipt), f"by {receipt['by']}", f"   {receipt['command']}"]
    if receipt["reason"]:
        lines.append(f'   "{receipt["reason"]}"')
    lines += ["", f"{'STEP':<11}{'RESULT':<14}{'AFTER':>8}   EVIDENCE"]
    for number, step in enumerate(receipt["steps"], 1):
        after = "" if step["after_s"] is None else f"{step['after_s']:.2f} s"
        lines.append(f"{number} {step['step']:<9}{step['state']:<14}{after:>8}   {step['evidence']}")
    lines += _closed_lines(receipt) + _standing_lines(receipt) + _fact_lines(receipt) + _next_lines(receipt)
    return "\n".join(lines) + "\n"


def _headline(receipt: Facts) -> str:
    at, after, code = receipt["at"][11:23], receipt["after_s"], receipt["exit"]
    if code == ExitCode.OK:
        return f"PROVEN FLAT at {at} UTC, {after} s after Enter, hold included.   exit 0"
    pending = "  PENDING: the kill goes on." if receipt["pending"] else ""
    if code == ExitCode.PARTIAL:
        return f"{receipt['verdict']} at {at} UTC, {after} s after Enter.{pending}   exit 6"
    return f"UNKNOWN at {at} UTC, {after} s after Enter: flat is not proven.{pending}   exit {code}"


def _whose(receipt: Facts) -> str:
    account = receipt["account"]
    shown = f"account {account['id']} {'= pinned' if account['pinned'] == 'pinned' else account['pinned'].upper()}"
    if account["id"] is None:
        shown = "account ?" if account["pinned"] != "differs" else "account DIFFERS from the pinned one"
    return (
        f"{receipt['env'].upper()}  {receipt['venue']}  profile {receipt['profile']}  {shown}"
        f"   receipt {receipt['kill_id']}   scope {receipt['scope'].upper()}"
    )


def _closed_lines(receipt: Facts) -> list[str]:
    if not receipt["closed"]:
        return []
    lines = ["", _CLOSED.format("CLOSED", "SIZE", "AVERAGE", "ARRIVAL", "SLIP bp", "SLIP", "FEE", "REALISED", "ORDERS")]
    for row in receipt["closed"]:
        name = row["product"] + (f" iso {row['slot']}" if row["slot"] is not None else "")
        slip = "?" if row["slippage_bps"] is None else f"{Decimal(row['slippage_bps']):.1f}"
        costs = (shown(row["slippage"]), shown(row["fee"]), shown(row["realized"], signed=True))
        prices = (shown(row["average"]), shown(row["arrival"]))
        lines.append(_CLOSED.format(name, f"{row['side']} {row['size']}", *prices, slip, *costs, row["orders"]))
    return lines + ([_total(receipt["closed"])] if len(receipt["closed"]) > 1 else [])


_CLOSED = "{:<30}{:>13}{:>11}{:>11}{:>8}{:>9}{:>8}{:>11}{:>7}"


def _total(rows: Sequence[Facts]) -> str:
    """What all closes came to; `?` as soon as one of them is not known."""
    sums = [
        None if any(row[member] is None for row in rows) else str(sum((Decimal(row[member]) for row in rows), ZERO))
        for member in ("slippage", "fee", "realized")
    ]
    costs = (shown(sums[0]), shown(sums[1]), shown(sums[2], signed=True))
    return _CLOSED.format("TOTAL, USDC", "", "", "", "", *costs, sum(row["orders"] for row in rows))


def shown(amount: str | None, *, signed: bool = False) -> str:
    """Money as people read it: two decimals, thousands separators; `?` when not known."""
    if amount is None:
        return "?"
    return f"{Decimal(amount):+,.2f}" if signed else f"{Decimal(amount):,.2f}"


def _equity_line(equity: Facts, closed: Sequence[Facts]) -> str:
    before, after = equity["before"], equity["after"]
    line = f"EQUITY    before {shown(before)}   after {shown(after)}"
    if before is None or after is None:
        return line
    change, fees = Decimal(after) - Decimal(before), sum((Decimal(row["fee"]) for row in closed), ZERO)
    return f"{line}   change {change:+,.2f} = against mark {change + fees:+,.2f}, fees {-fees:+,.2f}"


def _standing_lines(receipt: Facts) -> list[str]:
    left = receipt["left"]
    if left["positions"] is None:
        return ["", "STANDING   never seen: no listing was answered"]
    lines = []
    for row in left["positions"]:
        lines.append(f"STANDING   {row['product']} {row['size']}, notional {row['notional'] or '?'}")
    for word, rows in (("ORDER", left["orders"]), ("STOP", left["stops"])):
        for row in rows:
            lines.append(f"{word:<11}{row['order_id']} {row['side']} {row['remaining']} {row['product']} {row['type']}")
    age = f"seen {left['seen_s_ago']} s ago" if lines else ""
    return ["", *lines, *([age] if age else [])]


def _fact_lines(receipt: Facts) -> list[str]:
    equity, left = receipt["equity"], receipt["left"]
    balances = left["balances"]
    held = None if balances is None else ", ".join(f"{shown(amount)} {coin}" for coin, amount in balances.items())
    coins = "?" if held is None else held or "nothing"
    orders = "?" if left["spot_orders"] is None else left["spot_orders"]
    lines = [
        _equity_line(equity, receipt["closed"]),
        f"UNKNOWN   {'; '.join(receipt['unknown']) or 'nothing'}",
        f"LEFT      balances {coins}; {orders} spot orders (never touched)",
    ]
    lines += [f"REFUSED   {what}: {why}" for what, why in receipt["refused"].items()]
    lines += [f"NOTE      {note}" for note in receipt["notes"]]
    signed = "signed with identity.key" if receipt.get("hmac") else "NOT SIGNED"
    lines.append(f"FILE      {receipt.get('file', 'not kept')}   sha256 {str(receipt.get('sha256'))[:12]}   {signed}")
    return lines


def _next_lines(receipt: Facts) -> list[str]:
    profile, kill_id = receipt["profile"], receipt["kill_id"]
    lines = [""]
    if receipt["pending"]:
        lines.append(f"WHO FINISHES   process {receipt['worker']} on this host; not the next boot: kill --finish then")
        commands = [f"perpctl kill -p {profile} {what}" for what in ("--status", f"--abandon {kill_id} --reason ...")]
    elif receipt["exit"] == ExitCode.OK:
        commands = [f"perpctl -p {profile} reconcile", f"perpctl -p {profile} resume --dry-run"]
    else:
        commands = [f"perpctl kill -p {profile} --force", f"perpctl -p {profile} positions"]
    return [*lines, *(f"Next      {command}" for command in commands)]
