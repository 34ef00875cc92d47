"""This file draws the dry run of a kill."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from perpctl.emergency.screen.figures import WIDTH, Facts, coins, dated, figure, money, name_of

_EVIDENCE = WIDTH - 10 - 9
_CLOSE = "{:<26}{:<19}{:<30}{:>13}{:>11}{:>11}"
_YES_NO = {True: "yes", False: "no", None: "?"}


def screen(facts: Facts) -> str:
    """The dry run as an operator reads it."""
    lines = [
        "DRY RUN: nothing is latched, cancelled or closed.  Live reads only.",
        dated(facts),
        _standing(facts),
        "",
        f"{'STEP':<10}{'WHAT WOULD BE DONE':<{_EVIDENCE}}{'EXPECTED':>9}",
        *(line for number, step in enumerate(facts["steps"], 1) for line in _step_lines(number, step)),
        *_close_lines(facts),
        "",
        f"LEFT STANDING   balances {coins(facts['balances'])}; {facts['spot_orders']} spot orders (never touched)",
        "NOT COVERED     other keys of this account, the web page: keys are listed at portal.cdp.coinbase.com",
        f"To do it        perpctl kill -p {facts['profile']} --force            gentler: --max-slippage 0.30%",
    ]
    return "\n".join(lines) + "\n"


def _standing(facts: Facts) -> str:
    key = facts["key"]
    may = f"trade {_YES_NO[key['trade']]}, transfer {_YES_NO[key['transfer']]}"
    locked = facts["locked"]
    venue = "venue open" if locked == "false" else f"venue locked: {locked}"
    shut = [f"{name} {state}" for name, state in facts["books"].items() if state != "open"]
    books = f"books: {', '.join(shut)}" if shut else "books open" if facts["books"] else "no book needed"
    return f"scope {facts['scope'].upper()} ({facts['scope_from']})   key {key['id']}: {may}   {venue}, {books}"


def _step_lines(number: int, step: Facts) -> list[str]:
    """The number and name once; what a line cannot hold goes on below."""
    first, *others = step["what"]
    line = f"{number} {step['step']:<8}{first:<{_EVIDENCE}}{_seconds(step['expected_s']):>9}"
    return [line, *(f"{'':<10}{other}" for other in others)]


def _seconds(text: str | None) -> str:
    if text is None:
        return "?"
    return f"{text} s" if Decimal(text) < 1 else f"{Decimal(text):.0f} s"


def _close_lines(facts: Facts) -> list[str]:
    closes: Sequence[Facts] = facts["closes"]
    if not closes:
        return ["", "CLOSE     nothing: no position is open"]
    lines = ["", _CLOSE.format("CLOSE", "ORDER", "DEPTH WITHIN 0.10/0.30/0.75 %", "EXPECTED", "SLIPPAGE", "FEE")]
    for row in closes:
        size = "whole" if not row["units_agree"] else f"{figure(row['size'])} {row['coin']}"
        depth = f"{' / '.join(figure(one) for one in row['depth'])} {row['coin']}"
        slip = "?" if row["slippage_bps"] is None else f"{row['slippage_bps']} bp"
        costs = (figure(row["expected"]), slip, money(row["fee"]))
        lines.append(_CLOSE.format(name_of(row), f"{row['side']} {size}", depth, *costs))
    return [*lines, *_cost_lines(facts), _prices_line(facts, closes)]


def _cost_lines(facts: Facts) -> list[str]:
    cost = facts["cost"]
    share = "" if cost["of_equity_pct"] is None else f" ({cost['of_equity_pct']} % of equity)"
    known = f"{money(cost['slippage'])} slippage + {money(cost['fees'])} fees = {money(cost['total'])} USDC{share}"
    worst = "?" if cost["at_worst"] is None else f"{money(cost['at_worst'])} + {money(cost['fees'])}"
    missing = f"          without {cost['not_known']} of {len(facts['closes'])}: the book shown does not hold them"
    return [f"COST      {known}; at worst {worst} at the band", *([missing] if cost["not_known"] else [])]


def _prices_line(facts: Facts, closes: Sequence[Facts]) -> str:
    mids = " / ".join(figure(mid) for mid in dict.fromkeys(row["mid"] for row in closes))
    bands = {row["band_pct"] for row in closes}
    band = f"band mark +-{Decimal(bands.pop()):.1f} %" if len(bands) == 1 and None not in bands else "band ?"
    hours, minutes = divmod(facts["settlement_in_s"] // 60, 60)
    return f"PRICES    mid {mids}, {facts['prices_age_s']} s old; {band}; settlement in {hours} h {minutes} m"
