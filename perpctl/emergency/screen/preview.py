"""This file draws `kill --dry-run`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from perpctl.emergency.screen.words import Facts, balances, in_slot, shown, sized, total, whose

_STEP = "{:<10}{:<92}{:>8}"
_CLOSE = "{:<30}{:<20}{:<36}{:>11}{:>10}{:>9}"


def screen(facts: Facts) -> str:
    """What would be done, as an operator reads it before he does it."""
    at = datetime.fromisoformat(facts["at"])
    may = facts["key"]["may"] or "what it may do is not told"
    key = "no key is signed in" if facts["key"]["id"] is None else f"key {facts['key']['id']}: {may}"
    lines = [
        "DRY RUN: nothing is latched, cancelled or closed.  Live reads only.",
        f"{whose(facts)}      {at:%a %d %b %Y  %H:%M:%S} UTC",
        f"scope {facts['scope'].upper()}   {key}   {_books(facts)}",
        "",
        _STEP.format("STEP", "WHAT WOULD BE DONE", "EXPECTED"),
        *_step_lines(facts),
        *_close_lines(facts),
        "",
        f"LEFT STANDING   balances {balances(facts['balances'])}; {facts['spot_orders']} spot orders (never touched)",
        "NOT COVERED     other keys of this account, the web page: keys are listed at portal.cdp.coinbase.com",
        f"To do it        perpctl kill -p {facts['profile']} --force            gentler: --max-slippage 0.30%",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _books(facts: Facts) -> str:
    shut = [f"{name} {state.upper()}" for name, state in facts["books"].items() if state != "open"]
    if not facts["books"]:
        return "no book was asked for: nothing is held"
    return f"BOOKS NOT OPEN: {', '.join(shut)}" if shut else "books open"


def _expected(facts: Facts, step: str) -> str:
    seconds = facts["expected_s"][step]
    if seconds is None:
        return "?"
    if seconds == 0:
        return "-"
    return f"{seconds * 1_000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"


def _step_lines(facts: Facts) -> list[str]:
    stops, closes = len(facts["stops"]), len(facts["closes"])
    rows: list[tuple[str, list[str]]] = [
        ("latch", _latch(facts)),
        ("fence", [facts["bot"]["how"]]),
        ("entries", _entries(facts)),
        ("close", [f"{closes} positions, {facts['how']['close']}: {_path(facts)}"]),
        ("stops", [f"{stops} orders by id"]),
        ("prove", [facts["how"]["prove"]]),
        ("hold", ["anything that appears is cancelled, closed and reported"]),
        ("stop", [_service(facts)]),
    ]
    lines = []
    for number, (step, (first, *more)) in enumerate(rows, 1):
        lines.append(_STEP.format(f"{number} {step}", first, _expected(facts, step)))
        lines += [f"{'':<10}{line}" for line in more]
    return lines


def _latch(facts: Facts) -> list[str]:
    lines = [f"{path}: {state}" for path, state in facts["latches"].items()]
    if facts["expected_s"]["latch"] is None:
        lines.append("(?: nothing is written to find out, and no earlier kill measured it here)")
    return lines


def _entries(facts: Facts) -> list[str]:
    return [
        f"{len(facts['entries'])} {facts['how']['entries']}",
        *(f"1 by id: {_order(row)}, a trigger without reduce-only: an entry" for row in facts["entries_by_id"]),
        f"{len(facts['stops'])} {facts['how']['stops']}",
    ]


def _service(facts: Facts) -> str:
    if not facts["bot_unit"]:
        return "no service named in the profile"
    return f"{facts['bot_unit']}; asks no password  (?: it is not stopped to find out)"


def _path(facts: Facts) -> str:
    if facts["at_market_at_once"]:
        return "at market at once, liquidation is less than 2 % away"
    return ", then ".join("market" if rung == "market" else f"{Decimal(rung) * 100:.2f} %" for rung in facts["rungs"])


def _order(row: Facts) -> str:
    price = f" at {shown(row['trigger_price'] or row['price'])}"
    return f"{row['side']} {row['product']} {row['remaining']}{price} ({row['origin'] or 'origin ?'})"


def _close_lines(facts: Facts) -> list[str]:
    closes = facts["closes"]
    if not closes:
        return ["", "CLOSE     nothing: no position is open"]
    within = "/".join(f"{Decimal(rung) * 100:.2f}" for rung in facts["within"])
    titles = ("CLOSE", "ORDER", f"DEPTH WITHIN {within} %", "EXPECTED", "SLIPPAGE", "FEE")
    lines = ["", _CLOSE.format(*titles), *(_close(row) for row in closes), _cost(facts), _prices(facts)]
    if any(row["expected"] is None for row in closes):
        lines.append("?         the book shown does not hold the whole size: what it would cost cannot be told")
    return lines


def _close(row: Facts) -> str:
    name = row["underlying"]
    order = f"{row['side']} {sized(row)}" + ("" if row["units_agree"] else " (whole)")
    slip = "?" if row["slippage_bps"] is None else f"{row['slippage_bps']} bp"
    depth = f"{' / '.join(row['depth'])} {name}"
    return _CLOSE.format(in_slot(row), order, depth, shown(row["expected"]), slip, shown(row["fee"]))


def _cost(facts: Facts) -> str:
    """What all closes would come to; `?` as soon as one of them is not known."""
    slippage, fees, band = (total(facts["closes"], member) for member in ("slippage", "fee", "slippage_at_band"))
    if slippage is None or fees is None:
        return f"COST      ? slippage + {shown(fees)} fees; at worst {shown(band)} slippage at the band"
    cost = Decimal(slippage) + Decimal(fees)
    equity = facts["equity"]
    share = "" if equity is None or Decimal(equity) <= 0 else f" ({cost / Decimal(equity) * 100:.2f} % of equity)"
    return (
        f"COST      {shown(slippage)} slippage + {shown(fees)} fees = {cost:,.2f} {facts['currency']}{share}; "
        f"at worst {shown(band)} + {shown(fees)} at the band"
    )


def _prices(facts: Facts) -> str:
    rows = facts["prices"]
    mids = " / ".join(shown(row["mid"]) for row in rows)
    parts = [f"mid {mids}, {max(row['age_s'] for row in rows):.1f} s old"]
    if any(row["band_low"] is not None or row["band_high"] is not None for row in rows):
        parts.append("band " + " / ".join(f"{shown(row['band_low'])}..{shown(row['band_high'])}" for row in rows))
    if facts["settlement_in_s"] is not None:
        hours, minutes = divmod(facts["settlement_in_s"] // 60, 60)
        parts.append(f"settlement in {hours} h {minutes:02} m")
    return f"PRICES    {'; '.join(parts)}"
