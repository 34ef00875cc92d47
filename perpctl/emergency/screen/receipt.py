"""This file draws the receipt of a kill: proven, not flat, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from perpctl.emergency.screen.figures import Facts, coins, figure, heading, moment, money, name_of
from perpctl.errors import ExitCode
from perpctl.model.money import ZERO

_CLOSED = "{:<30}{:>13}{:>11}{:>11}{:>8}{:>9}{:>8}{:>11}{:>7}"
_STANDING = "{:<30}{:>15}{:>17}{:>19}   {}"


def screen(receipt: Facts) -> str:
    """The receipt as an operator reads it."""
    named = (f" receipt {receipt['kill_id']}", f" scope {receipt['scope'].upper()}")
    lines = [_headline(receipt), heading(receipt, *named), f"by {receipt['by']}", f"   {receipt['command']}"]
    if receipt["reason"] and receipt["reason"] not in receipt["command"]:
        lines.append(f'   "{receipt["reason"]}"')
    lines += ["", f"{'STEP':<11}{'RESULT':<19}{'AFTER':>8}   EVIDENCE"]
    for number, step in enumerate(receipt["steps"], 1):
        after = "" if step["after_s"] is None else f"{step['after_s']:.2f} s"
        lines.append(f"{number} {step['step']:<9}{step['state']:<19}{after:>8}   {step['evidence']}".rstrip())
    lines += _closed_lines(receipt) + _standing_lines(receipt) + _fact_lines(receipt) + _next_lines(receipt)
    return "\n".join(lines) + "\n"


def _headline(receipt: Facts) -> str:
    code, proven = receipt["exit"], receipt["proven"]
    if code == ExitCode.OK:
        words = (
            f"PROVEN FLAT at {moment(proven['at']):%H:%M:%S}.{moment(proven['at']).microsecond // 1000:03d} UTC, "
            f"{proven['after_s']:.2f} s after Enter, and still flat {proven['held_s']:.0f} s later."
        )
    elif code == ExitCode.PARTIAL:
        words = f"{receipt['verdict']} {receipt['after_s']} s after Enter: {_standing_in_words(receipt)}."
    else:
        words = f"UNKNOWN {receipt['after_s']} s after Enter: {_doubt(receipt)}."
    return f"{words}{'  PENDING: the kill goes on.' if receipt['pending'] else ''}   exit {code}"


def _standing_in_words(receipt: Facts) -> str:
    left = receipt["left"]
    held, orders = len(left["positions"] or ()), len(left["orders"] or ())
    return f"{held} position{'' if held == 1 else 's'} and {orders} order{'' if orders == 1 else 's'} stand"


def _doubt(receipt: Facts) -> str:
    if receipt["appeared_in_hold"] and not receipt["unknown"]:
        return "it was flat, and then somebody else traded"
    return "flat is not proven"


def _closed_lines(receipt: Facts) -> list[str]:
    if not receipt["closed"]:
        return []
    lines = ["", _CLOSED.format("CLOSED", "SIZE", "AVERAGE", "ARRIVAL", "SLIP bp", "SLIP", "FEE", "REALISED", "ORDERS")]
    for row in receipt["closed"]:
        slip = "?" if row["slippage_bps"] is None else f"{Decimal(row['slippage_bps']):.1f}"
        costs = (money(row["slippage"]), money(row["fee"]), money(row["realized"], signed=True))
        prices = (money(row["average"]), money(row["arrival"]))
        size = f"{row['side']} {row['size']}"
        lines.append(_CLOSED.format(name_of(row), size, *prices, slip, *costs, row["orders"]))
    return lines + ([_total(receipt["closed"])] if len(receipt["closed"]) > 1 else [])


def _total(rows: Sequence[Facts]) -> str:
    """What all closes came to; `?` as soon as one of them is not known."""
    sums = [
        None if any(row[member] is None for row in rows) else str(sum((Decimal(row[member]) for row in rows), ZERO))
        for member in ("slippage", "fee", "realized")
    ]
    costs = (money(sums[0]), money(sums[1]), money(sums[2], signed=True))
    return _CLOSED.format("TOTAL, USDC", "", "", "", "", *costs, sum(row["orders"] for row in rows))


def _standing_lines(receipt: Facts) -> list[str]:
    """What the last look showed: positions with what they can cost, then orders."""
    left = receipt["left"]
    if left["positions"] is None:
        return ["", "STANDING  never seen: no listing was answered"]
    lines: list[str] = []
    if left["positions"]:
        title = f"STANDING, seen {left['seen_s_ago']} s ago"
        lines += ["", _STANDING.format(title, "SIZE", "NOTIONAL USDC", "3 % AGAINST US", "STOP")]
    for row in left["positions"]:
        stops = " / ".join(figure(stop) for stop in row["stops"]) or "none"
        costs = (money(row["notional"]), money(row["three_percent"], signed=True))
        lines.append(_STANDING.format(name_of(row), figure(row["size"]), *costs, stops))
    for word, rows in (("ORDER", left["orders"]), ("STOP", left["stops"])):
        for row in rows:
            price = figure(row["trigger_price"] or row["price"]) if row["trigger_price"] or row["price"] else "market"
            what = f"{row['side']} {figure(row['remaining'])} {name_of(row)} {row['type']} at {price}"
            lines.append(f"{word:<10}{row['order_id']}  {what}")
    return lines


def _equity_line(equity: Facts, closed: Sequence[Facts]) -> str:
    before, after = equity["before"], equity["after"]
    line = f"EQUITY    before {money(before)}   after {money(after)}"
    if before is None or after is None:
        return line
    change, fees = Decimal(after) - Decimal(before), sum((Decimal(row["fee"]) for row in closed), ZERO)
    return f"{line}   change {change:+,.2f} = against mark {change + fees:+,.2f}, fees {-fees:+,.2f}"


def _fact_lines(receipt: Facts) -> list[str]:
    left = receipt["left"]
    orders = "?" if left["spot_orders"] is None else left["spot_orders"]
    signed = "signed with identity.key" if receipt.get("hmac") else "NOT SIGNED"
    lines = [
        "",
        _equity_line(receipt["equity"], receipt["closed"]),
        f"UNKNOWN   {'; '.join(receipt['unknown']) or 'nothing'}",
        f"LEFT      balances {coins(left['balances'])}; {orders} spot orders (never touched)",
    ]
    lines += [f"APPEARED  {what}" for what in receipt["appeared_in_hold"]]
    lines += [f"REFUSED   {what}: {why}" for what, why in receipt["refused"].items()]
    lines += [f"NOTE      {note}" for note in receipt["notes"]]
    return [
        *lines,
        f"TOLD      {_told(receipt['told'])}",
        f"FILE      {receipt.get('file', 'not kept')}   sha256 {str(receipt.get('sha256'))[:12]}   {signed}",
        f"JOURNAL   not yet: {receipt['record']} is taken in by the next reconcile or start",
    ]


def _told(told: Sequence[Facts]) -> str:
    """Who was really told, and who was not and why."""
    words = [
        f"{each['channel']} {moment(each['at']):%H:%M:%S}"
        if each["failed"] is None
        else f"{each['channel']} NOT ({each['failed']})"
        for each in told
    ]
    reached = any(each["failed"] is None for each in told)
    return "; ".join([*words, *([] if reached else ["NOBODY was told: tell the desk yourself"])])


def _next_lines(receipt: Facts) -> list[str]:
    profile, kill_id = receipt["profile"], receipt["kill_id"]
    lines: list[str] = [""]
    if receipt["pending"]:
        lines += [
            f"WHO FINISHES   process {receipt['worker']} on this host. After a reboot: the next start of the bot takes",
            "               it up before anything else, or whoever types --finish",
            f"WATCH IT       perpctl kill -p {profile} --status",
            f'GIVE IT UP     perpctl kill -p {profile} --abandon {kill_id} --reason "..."',
        ]
        return lines
    if receipt["appeared_in_hold"]:
        lines += [
            "DO THIS   1  find who sends: stop that machine, or cut its network at the switch",
            "          2  delete the key that it uses at portal.cdp.coinbase.com (sessions may live 50 min more)",
        ]
    if receipt["exit"] == ExitCode.OK:
        commands = [f"perpctl -p {profile} reconcile", f"perpctl -p {profile} resume --dry-run"]
    else:
        commands = [f"perpctl kill -p {profile} --force", f"perpctl -p {profile} positions"]
    return [*lines, f"Next      {commands[0]}", *(f"          {command}" for command in commands[1:])]
