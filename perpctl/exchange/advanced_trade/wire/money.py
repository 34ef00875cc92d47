"""This file reads the account documents: who we are, what we own, what margin asks, what is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpctl.exchange.advanced_trade.wire import words
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.both.document import Malformed, Row, row_of, rows_of, text
from perpctl.exchange.port import Identity
from perpctl.model.money import ZERO
from perpctl.model.position import Account, Position
from perpctl.model.venue.calendar import Happening, Kind
from perpctl.model.venue.margin import MarginMeasure

_WINDOWS = ("intraday", "overnight")
SCOPES = ("view", "trade", "transfer")


@dataclass(frozen=True, slots=True)
class Moment:
    """When a document arrived: market time as far as known, and our monotonic counter."""

    at_ms: int
    seen: float


def identity(row: Row) -> Identity:
    """The portfolio that a key is bound to for life."""
    return Identity(text(row, "portfolio_uuid"), None)


def scopes(row: Row) -> tuple[str, ...]:
    """What the key may do, in the venue's words."""
    return tuple(scope for scope in SCOPES if row.get(f"can_{scope}") is True)


def account(summary: Row, who: Identity, window: str | None, moment: Moment) -> Account:
    """The money at the FCM. Equity is its cash and what is unrealised; spot dollars are not in it.

    Margin counts in the dearest window, whichever is open now.
    """
    cash, unrealized = words.need_number(summary, "cfm_usd_balance"), words.need_number(summary, "unrealized_pnl")
    measures = tuple(filter(None, (_measure(summary, name) for name in _WINDOWS)))
    told = words.need_number(summary, "initial_margin")
    threshold = words.need_number(summary, "liquidation_threshold")
    hold = words.number(summary, "total_open_orders_hold_amount") or ZERO
    initial = max([told, *(one.initial for one in measures)])
    return Account(
        account_id=who.account_id,
        username=who.username,
        currency="USD",
        balance=cash,
        equity=cash + unrealized,
        available=max(cash + unrealized - initial - hold, ZERO),
        initial_margin=initial,
        maintenance_margin=max([threshold, *(one.maintenance for one in measures)]),
        session_realized=words.number(summary, "daily_realized_pnl"),
        session_unrealized=unrealized,
        margin_model="cleared by the FCM",
        slots_in_use=0,
        engine_rate=None,
        engine_burst=None,
        at_ms=moment.at_ms,
        seen=moment.seen,
        measures=measures,
        margin_window=window,
        order_hold=hold,
        funding_pnl=words.number(summary, "funding_pnl"),
        spot_cash=words.number(summary, "cbi_usd_balance"),
    )


def _measure(summary: Row, name: str) -> MarginMeasure | None:
    row = summary.get(f"{name}_margin_window_measure")
    if not isinstance(row, dict):
        return None
    initial, maintenance = words.number(row, "initial_margin"), words.number(row, "maintenance_margin")
    return None if initial is None or maintenance is None else MarginMeasure(name, initial, maintenance)


def margin_window(row: Row) -> str | None:
    """The window in force as the venue tells it; None when it does not say, and then the dear one counts."""
    window = words.word(row_of(row.get("margin_window"), "margin_window"), "margin_window_type") or ""
    name = window.removeprefix("MARGIN_WINDOW_TYPE_").lower()
    if name in ("overnight", "weekend", "transition"):
        return "overnight"
    return name if name == "intraday" else None


def sweeps(answer: Row, roll_ms: int) -> tuple[Happening, ...]:
    """Cash that is to leave the FCM for the spot wallet, where no margin counts it; without a time, at the roll."""
    return tuple(_sweep(row, roll_ms) for row in rows_of(answer.get("sweeps"), "sweeps"))


def _sweep(row: Row, roll_ms: int) -> Happening:
    amount = words.number(row, "requested_amount")
    everything = row.get("should_sweep_all") is True
    what = "all that is free" if everything else "an unknown amount" if amount is None else f"{amount:,.2f} USD"
    at_ms = words.moment(row, "scheduled_time") or roll_ms
    state = (words.word(row, "status") or "state not told").lower()
    title = f"sweep of {what} from futures to spot, {state}: equity falls by it"
    return Happening(f"sweep {text(row, 'id')[:8]}", Kind.MONEY, title, at_ms, at_ms, announced=True)


def position(row: Row, unit: Contract, moment: Moment) -> Position | None:
    """A CFM position in base coin; None when it holds nothing. `mark` is the FCM's own price."""
    contracts = words.need_number(row, "number_of_contracts")
    if contracts == 0:
        return None
    held = _side(row)
    price = words.price(row, "current_price")
    size = unit.coin(abs(contracts)) * held
    initial, notional = words.number(row, "im_contribution"), words.number(row, "position_notional")
    return Position(
        product_id=text(row, "product_id"),
        slot=None,
        size=size,
        entry_price=words.price(row, "avg_entry_price"),
        mark=price,
        index=None,
        notional=size * price if price is not None else _signed(notional, held),
        unrealized=words.number(row, "unrealized_pnl"),
        realized=words.number(row, "daily_realized_pnl"),
        funding=None,
        initial_margin=initial,
        maintenance_margin=words.number(row, "mm_contribution"),
        leverage=words.number(row, "leverage"),
        units_agree=contracts == int(contracts),
        at_ms=moment.at_ms,
        seen=moment.seen,
        underlying=unit.base,
        liquidation_price=words.price(row, "liquidation_price"),
    )


def _side(row: Row) -> int:
    """+1 or -1; `UNKNOWN` beside contracts is no position that can be acted on."""
    found = {"LONG": 1, "SHORT": -1, "Long": 1, "Short": -1}.get(str(row.get("side")))
    if found is None:
        raise Malformed(f"a position in {row.get('product_id')} is neither long nor short: {str(row.get('side'))[:20]}")
    return found


def _signed(notional: Decimal | None, sign: int) -> Decimal | None:
    return None if notional is None else abs(notional) * sign


def pushed_position(row: Row, unit: Contract, moment: Moment) -> Position:
    """A position of the user channel, which carries less; a size of zero is one that ended."""
    contracts = words.need_number(row, "number_of_contracts")
    size = ZERO if contracts == 0 else unit.coin(abs(contracts)) * _side(row)
    return Position(
        product_id=text(row, "product_id"),
        slot=None,
        size=size,
        entry_price=words.price(row, "entry_price"),
        mark=None,
        index=None,
        notional=None,
        unrealized=words.number(row, "unrealized_pnl"),
        realized=words.number(row, "realized_pnl"),
        funding=None,
        initial_margin=None,
        maintenance_margin=None,
        leverage=None,
        units_agree=True,
        at_ms=moment.at_ms,
        seen=moment.seen,
        underlying=unit.base,
    )


def positions(rows: Sequence[Row], units: dict[str, Contract], moment: Moment) -> tuple[Position, ...]:
    """Everything held."""
    found = (position(row, units[text(row, "product_id")], moment) for row in rows)
    return tuple(one for one in found if one is not None)
