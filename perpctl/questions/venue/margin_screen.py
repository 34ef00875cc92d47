"""This file draws margin: the windows, the positions in them, the verdict, and all of it after a move.

LIQ. AT is the maintenance margin: liquidation begins when equity falls to it. ALL PRICES BY is the move of all prices
together that would bring it there.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.model.venue.calendar import VenueCalendar, zone_of
from perpctl.model.venue.margin import Balance
from perpctl.questions import figures
from perpctl.questions.venue.margin_facts import verdict
from perpctl.results import Block, Column, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.questions.venue.margin import Exposed, Margins, Supposed, WhatIf, Window

ONE_WINDOW = "at all times"
FAR = "not within 100 %"


# --- now --------------------------------------------------------------------------------------------------------------


def view(found: Margins) -> Iterator[Block]:
    """The screen of `perpctl margin`."""
    account = found.account
    used = account.slots_in_use
    slots = f", {figures.count(used, 'isolated slot')} included" if used else ""
    yield Line(f"EQUITY  {figures.money(account.equity)} {account.currency}{slots}   free " + _free(found))
    for one in found.leaving:
        yield Line(f"LEAVES  {from_ms(one.start_ms):%a %d %b %H:%M} UTC: {one.title}", Tone.WARN)
    yield Line("")
    yield Table(_window_columns(found), tuple(_window_row(found, one) for one in found.windows))
    yield Line("")
    yield Table(_position_columns(found), tuple(_position_row(found, one) for one in found.exposed), "no open position")
    yield from _footnotes(found)
    yield from _outcome(found.dearest.balance, found, estimate=False)


def _free(found: Margins) -> str:
    return f"{figures.money(found.account.available)} {found.account.currency}"


def _window_columns(found: Margins) -> tuple[Column, ...]:
    unit = found.account.currency
    limit = "NO LIMIT SET" if found.limit_pct is None else f"OF {found.limit_pct:f} %"
    return (
        Column("window", "MARGIN WINDOW"),
        Column("initial", f"INITIAL {unit}", True),
        Column("maintenance", f"LIQ. AT {unit}", True),
        Column("buffer", f"BUFFER {unit}", True),
        Column("move", "ALL PRICES BY", True),
        Column("used", "OF EQUITY", True),
        Column("limit", limit, True),
    )


def _window_row(found: Margins, one: Window) -> Row:
    balance = one.balance
    cells = {"window": _window_name(found, one), "move": _move(found, one), **_sums(balance, found.limit_pct)}
    return Row(cells, tone=Tone.PLAIN if verdict(balance, found.limit_pct).is_good else Tone.BAD)


def _window_name(found: Margins, one: Window) -> str:
    name = one.name or ONE_WINDOW
    if one.in_force:
        return f"now, {name}"
    if one.begins_ms is None:
        return name
    return f"{clock(found.calendar, one.begins_ms)}, {name}"


def _move(found: Margins, one: Window) -> str:
    if found.unknown is not None:
        return figures.MISSING
    if one.liquidation_move is None:
        return FAR if found.exposed else "no position"
    return f"~{figures.percent(one.liquidation_move, 1)}"


def _sums(balance: Balance, limit_pct: Decimal | None) -> dict[str, str]:
    mark, used = "" if balance.measure.told else "~", balance.used_pct
    limit = None if used is None or not limit_pct else used / limit_pct
    return {
        "initial": mark + figures.money(balance.measure.initial),
        "maintenance": mark + figures.money(balance.measure.maintenance),
        "buffer": mark + figures.money(balance.buffer),
        "used": figures.MISSING if used is None else f"{mark}{used:.1f} %",
        "limit": "n/a" if limit_pct is None else figures.percent(limit, 0, signed=False),
    }


def _position_columns(found: Margins) -> tuple[Column, ...]:
    unit = found.account.currency
    return (
        Column("product", "PRODUCT"),
        Column("size", "POSITION", True),
        Column("mark", "MARK", True),
        Column("initial", f"INITIAL {unit}", True),
        Column("maintenance", f"MAINT. {unit}", True),
        Column("liquidation", "LIQUIDATION", True),
        Column("distance", "DISTANCE", True),
    )


def _position_row(found: Margins, one: Exposed) -> Row:
    held, instrument, least = one.holding.position, one.holding.instrument, found.least_distance_pct
    near = least is not None and one.distance_pct is not None and one.distance_pct < least
    cells = {
        "product": product(one),
        "size": figures.size(held.size, instrument.base, instrument.size_decimals),
        "mark": figures.price(held.mark, instrument.price_decimals),
        "initial": figures.money(one.part.initial),
        "maintenance": figures.money(one.part.maintenance),
        "liquidation": _liquidation(one.liquidation, one.told, instrument.price_decimals),
        "distance": _distance(one.distance_pct, one.told, held.size),
    }
    below = (Line(f"liq. n/a: {one.absent}"),) if one.liquidation is None and one.absent else ()
    return Row(cells, below, Tone.BAD if near else Tone.PLAIN)


def product(one: Exposed) -> str:
    """Product and slot."""
    held = one.holding.position
    return held.product_id if held.slot is None else f"{held.product_id} iso {held.slot}"


def _liquidation(price: Decimal | None, told: bool, decimals: int) -> str:
    return "n/a" if price is None else ("" if told else "~") + figures.price(price, decimals)


def _distance(percent: Decimal | None, told: bool, size: Decimal) -> str:
    if percent is None:
        return "n/a"
    return f"{'' if told else '~'}{percent:.1f} % {'below' if size > 0 else 'above'}"


def _footnotes(found: Margins) -> Iterator[Block]:
    if found.unknown is not None:
        yield Line(f"?  all prices together cannot be judged: {found.unknown}", Tone.WARN)
    if any(not one.told and one.liquidation is not None for one in found.exposed):
        yield Line("~  our estimate: the venue sends no liquidation price; other prices unchanged", Tone.DIM)


def _outcome(balance: Balance, found: Margins, *, estimate: bool) -> Iterator[Block]:
    """Cash needed, the verdict, and what to type."""
    judged, unit = verdict(balance, found.limit_pct), found.account.currency
    mark = "~" if estimate else ""
    if found.limit_pct:
        needed = balance.cash_needed(found.limit_pct)
        words = f"{mark}{figures.money(needed)} {unit} more brings it to the limit" if needed else "none"
        yield Line(f"CASH NEEDED  {words}", Tone.BAD if needed else Tone.PLAIN)
    if balance.buffer < 0:
        yield Line(f"CASH NEEDED  {mark}{figures.money(-balance.buffer)} {unit} more to stop liquidation", Tone.BAD)
    window = balance.measure.window or ONE_WINDOW
    yield Line(
        f"VERDICT  {judged.words} ({window})", Tone.GOOD if judged.is_good else Tone.BAD, mark=not judged.is_good
    )
    if not judged.is_good and found.exposed:
        biggest = max(found.exposed, key=lambda one: one.part.initial or Decimal(0))
        yield Next((f"perpctl positions reduce {biggest.holding.words} --by 25% --dry-run",))


def clock(calendar: VenueCalendar, at_ms: int) -> str:
    """A time by the venue's own clock: `16:00 New York`."""
    zone = calendar.zone.rpartition("/")[2].replace("_", " ")
    return f"{from_ms(at_ms).astimezone(zone_of(calendar.zone)):%a %H:%M} {zone}"


# --- after a move -----------------------------------------------------------------------------------------------------


def supposed_view(one: WhatIf) -> Iterator[Block]:
    """The screen of `perpctl margin what-if`."""
    found, window = one.now, one.after.measure.window or ONE_WINDOW
    at = "now" if one.at_ms == found.at_ms else f"at {from_ms(one.at_ms):%a %d %b %H:%M} UTC"
    if found.calendar.zone != "UTC":
        at += f" = {clock(found.calendar, one.at_ms)}"
    yield Line(f"WHAT IF prices move {figures.percent(one.move, 2)} {at}, margin window: {window}")
    yield Line("an estimate: sizes, open orders and funding as they are now; collateral keeps its value", Tone.DIM)
    yield Line("")
    yield Table(_change_columns(found), tuple(_change_rows(one)))
    yield Line("")
    yield Table(_moved_columns(found), tuple(_moved_row(each) for each in one.moved), "no open position: nothing moves")
    if found.account.slots_in_use:
        yield Line("?  isolated slots are counted with the account; each may be liquidated on its own", Tone.WARN)
    yield from _outcome(one.after, found, estimate=True)


def _change_columns(found: Margins) -> tuple[Column, ...]:
    columns = [one for one in _window_columns(found) if one.key not in ("window", "move")]
    equity = Column("equity", f"EQUITY {found.account.currency}", True)
    return (Column("when", ""), equity, *columns)


def _change_rows(one: WhatIf) -> Iterator[Row]:
    limit = one.now.limit_pct
    now, window = one.now.now.balance, one.before.measure.window or ONE_WINDOW
    yield Row({"when": "now", "equity": figures.money(now.equity), **_sums(now, limit)})
    if one.before.measure.window != now.measure.window:
        yield Row({"when": window, "equity": figures.money(one.before.equity), **_sums(one.before, limit)})
    tone = Tone.PLAIN if verdict(one.after, limit).is_good else Tone.BAD
    yield Row({"when": "then", "equity": f"~{figures.money(one.after.equity)}", **_sums(one.after, limit)}, tone=tone)


def _moved_columns(found: Margins) -> tuple[Column, ...]:
    return (
        Column("product", "PRODUCT"),
        Column("size", "POSITION", True),
        Column("mark", "MARK", True),
        Column("then", "THEN", True),
        Column("gain", f"GAIN {found.account.currency}", True),
        Column("liquidation", "LIQUIDATION", True),
        Column("distance", "DISTANCE", True),
    )


def _moved_row(one: Supposed) -> Row:
    held, instrument = one.exposed.holding.position, one.exposed.holding.instrument
    decimals = instrument.price_decimals
    return Row(
        {
            "product": product(one.exposed),
            "size": figures.size(held.size, instrument.base, instrument.size_decimals),
            "mark": figures.price(held.mark, decimals),
            "then": figures.MISSING if one.price is None else f"~{figures.price(one.price, decimals)}",
            "gain": figures.MISSING if one.gain is None else f"~{figures.money(one.gain, signed=True)}",
            "liquidation": _liquidation(one.liquidation, False, decimals),
            "distance": _distance(one.distance_pct, False, held.size),
        }
    )
