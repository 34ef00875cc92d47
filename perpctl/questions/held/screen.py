"""This file shows positions: the table, its lines under each product, the totals, and what needs a human."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.model.instrument import Instrument
from perpctl.model.order import Order
from perpctl.questions import figures
from perpctl.results import Age, Answer, Block, Column, Json, Line, Next, Row, Scope, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.questions.held.moved import Moved
    from perpctl.questions.held.positions import Day, Held, Holding

FUNDING_NOTE = "(1) accrued since the last settlement at 08:00 UTC, exact (the venue's), paid at the next settlement"
NO_FUNDING_NOTE = (
    "(1) accrues each hour, paid twice a day; the venue's rows of positions do not tell it: perpctl funding"
)
LIQUIDATION_NOTE = "(2) the venue sends no liquidation price; worked out from margins, other prices unchanged"
BESIDE = 64  # where the second half of a line under a product begins
STALE_S = 60.0  # a position proven over HTTP
NEAR_LIMIT = Decimal("0.75")  # of a limit: WARN


def answer(schema: str, scope: Scope, found: Held, desk: Desk) -> Answer:
    """The screen, and the same in JSON."""
    age = desk.clock.monotonic() - found.read_at
    view: list[Block] = [_table(found, age), *_totals(found)]
    if found.holdings:
        view += [Line(""), Line(FUNDING_NOTE if found.terms.continuous_funding else NO_FUNDING_NOTE, Tone.DIM)]
        if found.terms.mark_absent:
            view.append(Line(f"(3) {found.terms.mark_absent}", Tone.DIM))
    absent = {one.instrument.mark_absent: one.instrument.valued_by for one in found.holdings}
    for told in (None, found.terms.mark_absent):
        absent.pop(told, None)
    view += [Line(f"mark n/a: {why}; positions are valued by {by}", Tone.DIM) for why, by in absent.items()]
    if any(one.liquidation is not None for one in found.holdings):
        view.append(Line(LIQUIDATION_NOTE, Tone.DIM))
    view += _needs(found, scope.profile)
    facts: dict[str, Json] = {
        "source": "venue",
        "age_s": f"{age:.3f}",
        "positions": [_facts(one, age) for one in found.holdings],
        **_account_facts(found),
    }
    standing = desk.standing(source="venue over HTTP", age_s=age)
    return Answer(schema, scope, facts, tuple(view), records="positions", standing=standing)


def _needs(found: Held, profile: str) -> list[Block]:
    """What a human must look at, each with its command."""
    bare = [one for one in found.holdings if not one.stops or not one.cover.is_enough]
    strange = [one for one in found.holdings if one.explained is not None and not one.is_explained]
    lines: list[Block] = [
        Line(f"{_name(one)} has no {'full ' if one.stops else ''}stop", Tone.BAD, mark=True) for one in bare
    ]
    lines += [Line(f"{_name(one)} is not explained by our fills", Tone.BAD, mark=True) for one in strange]
    commands = [f"perpctl -p {profile} stops place {one.words}" for one in bare]
    commands += [f"perpctl -p {profile} positions explain {one.instrument.symbol}" for one in strange]
    return [Line(""), *lines, Next(tuple(dict.fromkeys(commands)))] if lines else []


def _table(found: Held, age: float) -> Table:
    currency = found.account.currency
    in_contracts = any(one.instrument.contract_size is not None for one in found.holdings)
    columns = (
        Column("product", "PRODUCT"),
        *((Column("contracts", "CONTRACTS", True),) if in_contracts else ()),
        Column("size", "POSITION", True),
        Column("notional", f"NOTIONAL {currency}", True),
        Column("entry", "ENTRY", True),
        Column("mark", "PRICE (3)" if found.terms.mark_absent else "MARK", True),
        Column("upnl", f"uPnL {currency}", True),
        Column("funding", "FUNDING (1)", True),
        Column("age", "AGE", True),
    )
    return Table(columns, tuple(_row(one, found, age) for one in found.holdings), "no open position")


def _funding(one: Holding, found: Held) -> str:
    if one.position.funding is None and not found.terms.continuous_funding:
        return "n/a"
    return figures.money(one.position.funding, signed=True)


def _row(one: Holding, found: Held, age: float) -> Row:
    position, instrument = one.position, one.instrument
    cells: dict[str, str | Age] = {
        "product": _name(one),
        "size": figures.size(position.size, instrument.base, instrument.size_decimals),
        "notional": figures.money(None if position.notional is None else abs(position.notional)),
        "entry": figures.price(position.entry_price, instrument.price_decimals),
        "mark": figures.price(position.mark, instrument.price_decimals),
        "upnl": figures.money(position.unrealized, signed=True),
        "funding": _funding(one, found),
        "age": Age(age, STALE_S),
    }
    if (contracts := instrument.contracts(position.size)) is not None:
        cells["contracts"] = f"{'LONG' if contracts > 0 else 'SHORT'} {abs(contracts).normalize():f}"
    doubt: tuple[Line, ...] = ()
    if not position.units_agree:
        doubt = (Line("the venue's size fields contradict each other: nothing is sized from them", Tone.BAD, True),)
    return Row(cells, (*_stop_lines(one), *_lines_of_liquidation_and_owner(one), *doubt))


def _lines_of_liquidation_and_owner(one: Holding) -> tuple[Line, ...]:
    """Side by side when both are short and neither needs a human."""
    first, second = _liquidation_line(one), _owner_line(one)
    if len(first.text) < BESIDE and second.tone is Tone.PLAIN:
        return (Line(f"{first.text:<{BESIDE}}   {second.text}"),)
    return (first, second)


def _stop_lines(one: Holding) -> tuple[Line, ...]:
    used = "limit used ?" if one.limit is None else ""
    if one.limit_used is not None:
        used = f"limit used {one.limit_used * 100:.0f} % of {figures.money(one.limit)}{near_limit(one.limit_used)}"
    if not one.stops:
        return (Line(f"{'stop  NONE AT THE VENUE':<{BESIDE}}   {used}", Tone.BAD, mark=True),)
    first, *more = (_stop_words(one, stop) for stop in one.stops)
    whole = f"stop  {first}, covers {one.cover.fraction * 100:.0f} %"
    lines = (Line(f"{whole:<{BESIDE}}   {used}"),)
    return (*lines, *(Line(f"stop  {words}") for words in more))


def near_limit(used: Decimal) -> str:
    """The word for a limit that is nearly used, or more than used."""
    if used < NEAR_LIMIT:
        return ""
    return " OVER" if used > 1 else " WARN"


def _stop_words(one: Holding, stop: Order) -> str:
    instrument, mark = one.instrument, one.position.mark
    trigger = figures.price(stop.trigger_price, instrument.price_decimals)
    words = f"{stop.side} {stop.remaining:.{instrument.size_decimals}f} at {trigger} on {_trigger(stop)}"
    if mark and stop.trigger_price is not None:
        words += f", {_away(stop.trigger_price, mark)}"
    return words


def _away(price: Decimal, mark: Decimal) -> str:
    away = (price - mark) / mark
    return f"{abs(away) * 100:.1f} % {'below' if away < 0 else 'above'}"


def _trigger(stop: Order) -> str:
    return {"mark_price": "mark", "index_price": "index", "last_price": "last"}.get(stop.trigger or "", "?")


def _liquidation_line(one: Holding) -> Line:
    if one.liquidation is None or one.position.mark is None:
        absent = one.liquidation_absent or "no estimate"
        return Line(f"liq.  {absent}" if absent.startswith("not by") else f"liq.  ? ({absent})")
    price = figures.price(one.liquidation, one.instrument.price_decimals)
    return Line(f"liq.  ~{price}, {_away(one.liquidation, one.position.mark)} (2)")


def _owner_line(one: Holding) -> Line:
    told = one.explained
    if told is None:
        return Line("owner ? (our journal cannot be read: perpctl preflight --all says why)", Tone.WARN, mark=True)
    if not one.is_explained:
        ours = figures.size(told.size, one.instrument.base, one.instrument.size_decimals)
        return Line(f"owner NOT EXPLAINED: our fills come to {ours}", Tone.BAD, mark=True)
    if told.foreign and told.foreign == told.fills:
        fills = figures.count(told.fills, "fill")
        return Line(
            f"owner NOT OURS: {fills} of other orders {'makes' if told.fills == 1 else 'make'} it", Tone.WARN, mark=True
        )
    if told.foreign:
        return Line(f"owner in part not ours: {told.foreign} of the {told.fills} fills that explain it", Tone.WARN)
    return Line(f"owner ours, {figures.count(told.fills, 'fill')} {'explains' if told.fills == 1 else 'explain'} it")


def _totals(found: Held) -> list[Block]:
    account, currency = found.account, found.account.currency
    lines: list[Block] = []
    if found.holdings:
        lines.append(_total_line(found))
        lines.append(Line("DELTA   " + "   ".join(_deltas(found))))
    lines.append(_day_line(found))
    if found.day is not None:
        lines += _moved(found.day.moved, found.account.currency)
    lines.append(
        Line(
            f"MARGIN  equity {figures.money(account.equity)}   initial {figures.money(account.initial_margin)}   "
            f"maintenance {figures.money(account.maintenance_margin)}   "
            f"free {figures.money(account.available)} {currency}"
        )
    )
    until = figures.span((found.calendar.next_day_ms(found.at_ms) - found.at_ms) / 1000)
    return [*lines, Line(f"NEXT    {figures.day_turn(found.terms)} {figures.day_start(found.calendar)} in {until}")]


def _gross(found: Held) -> Decimal | None:
    notionals = (one.position.notional for one in found.holdings)
    return figures.total(None if one is None else abs(one) for one in notionals)


def _total_line(found: Held) -> Line:
    account, gross = found.account, _gross(found)
    upnl = figures.total(one.position.unrealized for one in found.holdings)
    funding = figures.total(one.position.funding for one in found.holdings)
    words = f"TOTAL   gross {figures.money(gross)} {account.currency}"
    if gross is not None and account.equity > 0:
        words += f" = {gross / account.equity:.2f} x equity"
    tone = Tone.PLAIN
    if gross is not None and found.gross_limit:
        used = gross / found.gross_limit
        words += f" ({used * 100:.0f} % of {figures.money(found.gross_limit)} allowed{near_limit(used)})"
        tone = Tone.WARN if used >= NEAR_LIMIT else tone
    pnl = f"uPnL {figures.money(upnl, signed=True)}"
    if funding is not None or found.terms.continuous_funding:
        pnl += f"   funding {figures.money(funding, signed=True)}"
    return Line(f"{words}   {pnl}", tone)


def _day_line(found: Held) -> Line:
    day, account, currency = found.day, found.account, found.account.currency
    if day is None:
        return Line(
            f"DAY     no baseline yet; realised {figures.money(account.session_realized, signed=True)}   "
            f"unrealised {figures.money(account.session_unrealized, signed=True)} {currency} "
            f"since {figures.day_start(found.calendar)} (the venue's)"
        )
    warn = "" if found.warn_pct is None else f"   warn at -{found.warn_pct:.2f} %"
    parts = [("price", day.price), ("fees", day.fees), ("funding", day.funding)]
    if day.funding is None:
        parts = [("price with funding", day.price), ("fees", day.fees)]
    split = ", ".join(f"{name} {figures.money(amount, signed=True)}" for name, amount in parts)
    words = f"DAY     {figures.money(day.pnl, signed=True)} {currency} = {day.percent:+.2f} %"
    words += f" since {figures.day_start(found.calendar)} ({split})"
    bad = found.warn_pct is not None and day.percent <= -found.warn_pct
    return Line(f"{words}{warn}", Tone.WARN if bad else Tone.PLAIN, mark=bad)


def _moved(moved: Moved, currency: str) -> list[Line]:
    if moved.net is None:
        tone = Tone.PLAIN if moved.never else Tone.WARN
        return [Line(f"        deposits and withdrawals in it: {moved.unread}", tone, mark=not moved.never)]
    if not moved.net:
        return []
    return [
        Line(f"        and {figures.money(moved.net, signed=True)} {currency} of transfers, which are no part of it")
    ]


def _deltas(found: Held) -> list[str]:
    sums: dict[Instrument, Decimal] = {}
    for one in found.holdings:
        sums[one.instrument] = sums.get(one.instrument, Decimal(0)) + one.position.size
    return [f"{instrument.base} {amount:+.{instrument.size_decimals}f}" for instrument, amount in sums.items()]


def _name(one: Holding) -> str:
    position = one.position
    return position.product_id if position.slot is None else f"{position.product_id} iso {position.slot}"


def _account_facts(found: Held) -> dict[str, Json]:
    account, day = found.account, found.day
    gross = _gross(found)
    settles = from_ms(found.calendar.next_day_ms(found.at_ms)).isoformat()
    deltas: dict[str, Json] = {}
    for one in _deltas(found):
        base, _, size = one.partition(" ")
        deltas[base] = size.removeprefix("+")
    return {
        "currency": account.currency,
        **figures.texts(
            [
                ("equity", account.equity),
                ("initial_margin", account.initial_margin),
                ("maintenance_margin", account.maintenance_margin),
                ("available", account.available),
                ("session_realized", account.session_realized),
                ("session_unrealized", account.session_unrealized),
                ("gross", gross),
                ("gross_limit", found.gross_limit),
                ("day_warn_pct", found.warn_pct),
            ]
        ),
        "delta": deltas,
        "day": None if day is None else _day_facts(day),
        "next_settlement_at": settles,
    }


def _day_facts(day: Day) -> Json:
    parts = [("pnl", day.pnl), ("price", day.price), ("fees", day.fees), ("funding", day.funding)]
    moved = figures.texts([("transfers", day.moved.net)])
    return {**figures.texts(parts), "percent": f"{day.percent:.4f}", **moved, "transfers_unread": day.moved.unread}


def _facts(one: Holding, age: float) -> dict[str, Json]:
    position, instrument = one.position, one.instrument
    return {
        "product_id": position.product_id,
        "symbol": instrument.symbol,
        "slot": position.slot,
        "size": figures.text(position.size),
        "size_unit": instrument.base,
        "contracts": figures.text(instrument.contracts(position.size)),
        "contract_size": figures.text(instrument.contract_size),
        "mark_price_absent": instrument.mark_absent,
        "price_source": instrument.valued_by,
        "currency": instrument.currency,
        **figures.texts(
            [
                ("notional", None if position.notional is None else abs(position.notional)),
                ("entry_price", position.entry_price),
                ("price", position.mark),
                ("mark_price", None if instrument.mark_absent else position.mark),
                ("index_price", position.index),
                ("unrealized_pnl", position.unrealized),
                ("realized_pnl", position.realized),
                ("initial_margin", position.initial_margin),
                ("maintenance_margin", position.maintenance_margin),
                ("limit", one.limit),
            ]
        ),
        "limit_used": None if one.limit_used is None else f"{one.limit_used:.4f}",
        "funding": {"amount": figures.text(position.funding), "estimate": False},
        "liquidation_price": None,
        "liquidation_price_absent": "not offered by this venue",
        "liquidation_estimate": _estimate(one),
        "liquidation_estimate_absent": one.liquidation_absent,
        "units_agree": position.units_agree,
        "stop": _stop_facts(one),
        **_owner_facts(one),
        "age_s": f"{age:.3f}",
    }


def _owner_facts(one: Holding) -> dict[str, Json]:
    told = one.explained
    if told is None:
        return {"ours": None, "explained": None}
    words = {"size": figures.text(told.size), "fills": told.fills, "not_ours": told.foreign, "agrees": one.is_explained}
    return {"ours": one.is_explained and not told.foreign, "explained": words}


def _estimate(one: Holding) -> str | None:
    return None if one.liquidation is None else f"{one.liquidation:.{one.instrument.price_decimals}f}"


def _stop_facts(one: Holding) -> Json:
    if not one.stops:
        return None
    return {
        "order_ids": [stop.order_id for stop in one.stops],
        "type": one.stops[0].type.value,
        "stop_price": figures.text(one.stops[0].trigger_price),
        "trigger": one.stops[0].trigger,
        "covers": f"{one.cover.fraction:.4f}",
    }
