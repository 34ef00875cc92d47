"""This file draws the receipt of a kill: one screen that shows nothing the JSON does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from perpctl.emergency.screen.words import Facts, balances, in_slot, shown, total, whose
from perpctl.errors import ExitCode
from perpctl.model.money import ZERO

_CLOSED = "{:<43}{:>11}{:>11}{:>8}{:>9}{:>8}{:>11}{:>7}"
_STANDING = "{:<30}{:<22}{:>15}{:>22}   {}"


def screen(receipt: Facts) -> str:
    """The receipt as an operator reads it; one from before currencies were written down is in USDC."""
    receipt = {"currency": "USDC", **receipt}
    lines = [_headline(receipt), _whose(receipt), f"by {receipt['by']}", f"   {receipt['command']}"]
    lines += ["", f"{'STEP':<11}{'RESULT':<14}{'AFTER':>8}   EVIDENCE"]
    for number, step in enumerate(receipt["steps"], 1):
        after = "" if step["after_s"] is None else f"{step['after_s']:.2f} s"
        lines.append(f"{number} {step['step']:<9}{step['state']:<14}{after:>8}   {step['evidence']}".rstrip())
    lines += _closed_lines(receipt) + _standing_lines(receipt) + _fact_lines(receipt) + _after_lines(receipt)
    return "\n".join(lines) + "\n"


def _headline(receipt: Facts) -> str:
    at, after, code = receipt["at"][11:23], receipt["after_s"], receipt["exit"]
    if proven := receipt["proven"]:
        held = f"and still flat {proven['held_s']:.0f} s later"
        return f"PROVEN FLAT at {proven['at'][11:23]} UTC, {proven['after_s']} s after Enter, {held}.   exit {code}"
    pending = "  PENDING: the kill goes on." if receipt["pending"] else ""
    if code == ExitCode.PARTIAL:
        return f"{receipt['verdict']} at {at} UTC, {after} s after Enter.{pending}   exit {code}"
    why = "; ".join(receipt["appeared_in_hold"][-1:]) or "flat is not proven"
    return f"UNKNOWN at {at} UTC, {after} s after Enter: {why}.{pending}   exit {code}"


def _whose(receipt: Facts) -> str:
    return f"{whose(receipt)}   receipt {receipt['kill_id']}   scope {receipt['scope'].upper()}"


def _closed_lines(receipt: Facts) -> list[str]:
    tried = [row for row in receipt["closed"] if row["orders"]]
    if not tried:
        return []
    lines = [
        "",
        _CLOSED.format(_apart("CLOSED", "SIZE"), "AVERAGE", "ARRIVAL", "SLIP bp", "SLIP", "FEE", "REALISED", "ORDERS"),
    ]
    for row in tried:
        slip = "?" if row["slippage_bps"] is None else f"{Decimal(row['slippage_bps']):.1f}"
        costs = (shown(row["slippage"]), shown(row["fee"]), shown(row["realized"], signed=True))
        prices = (shown(row["average"]), shown(row["arrival"]))
        name = _apart(in_slot(row), f"{row['side']} {_size(row)}")
        lines.append(_CLOSED.format(name, *prices, slip, *costs, row["orders"]))
    return lines + ([_total(tried, receipt["currency"])] if len(tried) > 1 else [])


def _apart(name: str, size: str) -> str:
    """A name at the left and a size at the right end of what they share."""
    return f"{name} {size:>{42 - len(name)}}"


def _size(row: Facts) -> str:
    """In base coin; in contracts first, where the venue counts those."""
    return (
        row["size"].lstrip("-")
        if row["contracts"] is None
        else f"{row['contracts'].lstrip('-')} ({row['size'].lstrip('-')})"
    )


def _total(rows: list[Facts], currency: str) -> str:
    """What all closes came to; `?` as soon as one of them is not known."""
    costs = (shown(total(rows, "slippage")), shown(total(rows, "fee")), shown(total(rows, "realized"), signed=True))
    return _CLOSED.format(f"TOTAL, {currency}", "", "", "", *costs, sum(row["orders"] for row in rows))


def _standing_lines(receipt: Facts) -> list[str]:
    left = receipt["left"]
    if left["positions"] is None:
        return ["", "STANDING   never seen: no listing was answered"]
    currency = receipt["currency"]
    lines = [_standing(row, currency) for row in left["positions"]]
    if lines:
        lines.insert(0, _STANDING.format("STANDING", "SIZE", f"NOTIONAL {currency}", "3 % AGAINST US", "STOP AT"))
    for word, rows in (("ORDER", left["orders"]), ("STOP", left["stops"])):
        for row in rows:
            lines.append(f"{word:<11}{row['order_id']} {row['side']} {row['remaining']} {row['product']} {row['type']}")
    if not lines:
        return [""]
    buffer = receipt["margin_buffer"]
    told = "?" if buffer is None else f"{shown(buffer['amount'])} {currency} to liquidation"
    if buffer is not None and buffer["liquidated_now"]:
        told += "; THE VENUE IS LIQUIDATING"
    return ["", *lines, f"MARGIN     buffer {told}; listings {left['seen_s_ago']} s old"]


def _standing(row: Facts, currency: str) -> str:
    side = "LONG" if Decimal(row["size"]) > 0 else "SHORT"
    against = "?" if row["against_us"] is None else f"{shown(row['against_us'], signed=True)} {currency}"
    stops = ", ".join(price or "?" for price in row["stops"]) or "none"
    size = f"{side} {_size(row)}"
    return _STANDING.format(in_slot(row), size, shown(row["notional"]), against, stops)


def _equity_line(equity: Facts, closed: Sequence[Facts]) -> str:
    before, after = equity["before"], equity["after"]
    line = f"EQUITY    before {shown(before)}   after {shown(after)}"
    if before is None or after is None:
        return line
    change, fees = Decimal(after) - Decimal(before), sum((Decimal(row["fee"]) for row in closed), ZERO)
    return f"{line}   change {change:+,.2f} = against mark {change + fees:+,.2f}, fees {-fees:+,.2f}"


def _fact_lines(receipt: Facts) -> list[str]:
    left, told, journal = receipt["left"], receipt["told"], receipt["journal"]
    orders = "?" if left["spot_orders"] is None else left["spot_orders"]
    lines = [
        _equity_line(receipt["equity"], receipt["closed"]),
        f"UNKNOWN   {'; '.join(receipt['unknown']) or 'nothing'}",
        f"LEFT      balances {balances(left['balances'])}; {orders} spot orders (never touched)",
        f"TOLD      {', '.join(told['reached']) or 'NOBODY'}; not told: {', '.join(told['missed'])}",
    ]
    lines += [f"REFUSED   {what}: {why}" for what, why in receipt["refused"].items()]
    lines += [f"NOTE      {note}" for note in receipt["notes"]]
    signed = "signed with identity.key" if receipt.get("hmac") else "NOT SIGNED"
    sha = str(receipt.get("sha256"))
    lines.append(f"FILE      {receipt.get('file', 'not kept')}   sha256 {sha[:4]}..{sha[-4:]}   {signed}")
    kept = f"{journal['file']}, {journal['lines']} lines" if journal["lines"] else f"NOT KEPT: {journal['trouble']}"
    lines.append(f"JOURNAL   beside the journal: {kept}; the next run, or reconcile --apply, takes them in")
    return lines


def _after_lines(receipt: Facts) -> list[str]:
    """What a human does now."""
    profile, kill_id = receipt["profile"], receipt["kill_id"]
    if receipt["pending"]:
        kill = f"perpctl kill -p {profile}"
        worker = receipt["worker"]
        by = f"process {worker} on this host" if worker else "NOBODY: its process is gone"
        return [
            "",
            f"WHO FINISHES   {by}; no watchdog beats.  The next perpctl command of profile",
            f"               {profile} starts another process when that one has ended, by a reboot or otherwise",
            f"WATCH IT       {kill} --status      exits 3 until it is over",
            f"GIVE IT UP     {kill} --abandon {kill_id} --reason ...",
            *_advice(receipt),
        ]
    if receipt["exit"] == ExitCode.OK:
        then = [f"perpctl -p {profile} reconcile", f'perpctl -p {profile} resume --as NAME --reason "..." --dry-run']
    else:
        then = [f"perpctl kill -p {profile} --force", f"perpctl -p {profile} positions"]
    return ["", *_advice(receipt), *(f"Next      {command}" for command in then)]


def _advice(receipt: Facts) -> list[str]:
    """What only a human can do about what is unknown, most urgent first."""
    fence = next(step for step in receipt["steps"] if step["step"] == "fence")
    advice = [
        f"latch by hand: touch /tmp/TRADING_DISABLED   ({path}: {outcome})" for path, outcome in _unlatched(receipt)
    ]
    if fence["state"] == "NOT PROVEN":
        advice.append(f"stop the bot, or cut its machine off: {fence['evidence']}")
    if receipt["appeared_in_hold"]:
        advice.append("somebody still trades this account: delete the key that does, at portal.cdp.coinbase.com")
    if not advice:
        return []
    return [f"{'DO THIS' if number == 1 else '':<10}{number}  {what}" for number, what in enumerate(advice, 1)]


def _unlatched(receipt: Facts) -> list[tuple[str, str]]:
    return [(path, outcome) for path, outcome in receipt["latches"].items() if outcome != "written"]
