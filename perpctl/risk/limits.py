"""This file holds the risk limits: one row each with its unit and its three levels, and overrides by hand."""

# ruff: noqa: RUF009  (a row is a dataclass field, immutable)
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any

from perpctl.errors import SettingError
from perpctl.model.money import ZERO, parse_decimal


class RiskLevel(StrEnum):
    CONSERVATIVE = "conservative"
    MODERATE = "moderate"
    AGGRESSIVE = "aggressive"


UNSET = "unset: nothing is allowed"

# The highest value that can be meant in a unit; anything above was written in another one.
_HIGHEST = {
    "x equity": Decimal(20),
    "USD": Decimal(10) ** 12,
    "%": Decimal(100),
    "bp": Decimal(1_000),
    "s": Decimal(60),
    "min": Decimal(1_440),
    "/s": Decimal(1_000),
    "x": Decimal(200),
    "count": Decimal(10) ** 9,
}


def _row(unit: str, conservative: str, moderate: str, aggressive: str, why: str) -> Any:
    levels = {
        RiskLevel.CONSERVATIVE: Decimal(conservative),
        RiskLevel.MODERATE: Decimal(moderate),
        RiskLevel.AGGRESSIVE: Decimal(aggressive),
    }
    return field(default=ZERO, metadata={"unit": unit, "levels": levels, "why": why})


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit that the gate and the breach rules know. A row that is zero allows nothing.

    Losses and drawdowns are positive percentages of the baseline. `origins` says where each row came from.
    """

    max_order_notional_equity: Decimal = _row("x equity", "0.10", "0.25", "0.50", "largest order by equity")
    max_order_notional_usd: Decimal = _row("USD", "25000", "100000", "250000", "largest order by money")
    max_order_depth_pct: Decimal = _row("%", "10", "20", "30", "of the depth inside the collar")
    max_position_notional_equity: Decimal = _row("x equity", "0.50", "1.00", "2.00", "largest position by equity")
    max_position_notional_usd: Decimal = _row("USD", "250000", "750000", "2000000", "largest position by money")
    max_position_open_interest_pct: Decimal = _row("%", "0.5", "1.0", "2.0", "of the product's open interest")
    max_net_notional_equity: Decimal = _row("x equity", "0.50", "1.00", "2.00", "net of one underlying")
    max_gross_notional_equity: Decimal = _row("x equity", "0.75", "1.50", "3.00", "gross of everything, the leverage")
    venue_leverage: Decimal = _row("x", "2", "3", "5", "set at the venue as a second belt")
    max_margin_used_pct: Decimal = _row("%", "25", "40", "60", "of equity, in the dearest margin window")
    min_liquidation_distance_pct: Decimal = _row("%", "50", "30", "20", "adverse move to liquidation")
    strategy_target_pct: Decimal = _row("%", "60", "60", "60", "of the largest position, for strategies")
    day_loss_warn_pct: Decimal = _row("%", "1.0", "1.5", "2.5", "loss of the risk day: warn")
    day_loss_reduce_pct: Decimal = _row("%", "2.0", "3.0", "5.0", "loss of the risk day: reduce-only")
    day_loss_kill_pct: Decimal = _row("%", "3.0", "4.5", "7.5", "loss of the risk day: kill")
    drawdown_halt_pct: Decimal = _row("%", "5", "8", "12", "from the peak of 7 days: halted")
    stop_distance_pct: Decimal = _row("%", "2.0", "3.0", "3.5", "protective stop, from average entry")
    stop_missing_s: Decimal = _row("s", "5", "5", "10", "longest time in a position without a stop")
    price_collar_pct: Decimal = _row("%", "0.5", "1.0", "1.5", "around the reference price")
    max_spread_bp: Decimal = _row("bp", "5", "10", "20", "widest spread to take")
    pause_move_1m_pct: Decimal = _row("%", "0.75", "1.0", "1.5", "one-minute move that pauses entries")
    pause_mark_index_pct: Decimal = _row("%", "0.3", "0.5", "0.75", "mark and index apart: entries pause")
    max_funding_against_pct: Decimal = _row("%", "0.05", "0.10", "0.20", "per 8 hours, on the paying side")
    funding_paid_alarm_pct: Decimal = _row("%", "0.10", "0.20", "0.40", "of equity, paid in a day")
    max_resting_entries: Decimal = _row("count", "4", "10", "20", "a product")
    messages_per_s: Decimal = _row("/s", "1", "2", "3", "new, edit and cancel")
    messages_burst: Decimal = _row("count", "5", "10", "12", "new, edit and cancel")
    max_orders_day: Decimal = _row("count", "500", "2000", "5000", "orders in a risk day")
    same_side_executions: Decimal = _row("count", "10", "20", "40", "in 5 minutes: halt")
    losing_round_trips: Decimal = _row("count", "4", "6", "10", "in 60 minutes: halt")
    duplicate_window_s: Decimal = _row("s", "2", "1", "1", "same product, side, size and price")
    unattended_flatten_min: Decimal = _row("min", "15", "30", "60", "after an unanswered page of level 4")
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def unset(self) -> tuple[str, ...]:
        """The rows that are zero; while there is one, no entry is allowed."""
        if all(_values(self)):
            return ()
        return tuple(key for key in KEYS if not getattr(self, key))

    def origin(self, key: str) -> str:
        """Where the value of a row came from."""
        return self.origins.get(key, UNSET)


_ROWS = {row.name: row.metadata for row in fields(Limits) if row.name != "origins"}
KEYS = tuple(_ROWS)
_values = attrgetter(*KEYS)


def unit_of(key: str) -> str:
    """The unit of a row, as it is shown beside its value."""
    return str(_ROWS[key]["unit"])


def level_limits(level: RiskLevel) -> Limits:
    """The limits that `--risk-level` fills."""
    origin = f"risk level {level.value}"
    values = {key: row["levels"][level] for key, row in _ROWS.items()}
    return Limits(**values, origins=dict.fromkeys(KEYS, origin))


def with_overrides(limits: Limits, overrides: Mapping[str, str | int | Decimal], origin: str = "settings") -> Limits:
    """The limits with rows replaced by hand; `origin` names file and line, flag or variable.

    Raises SettingError naming the key: unknown, not a number, negative, or plainly in another unit.
    """
    values: dict[str, Any] = {key: _checked(key, value, origin) for key, value in overrides.items()}
    return replace(limits, **values, origins={**limits.origins, **dict.fromkeys(values, origin)})


def _checked(key: str, value: str | int | Decimal, origin: str) -> Decimal:
    row = _ROWS.get(key)
    if row is None:
        import difflib

        near = difflib.get_close_matches(key, KEYS, n=1)
        raise _broken(f"{origin}: no limit is called {key!r}" + (f"; did you mean {near[0]}?" if near else ""))
    unit, levels = row["unit"], row["levels"]
    try:
        number = parse_decimal(value)
    except ValueError as error:
        raise _broken(f"{origin}: {key}: {error}; it wants a plain number, unit {unit}") from None
    if number < 0:
        raise _broken(f"{origin}: {key} = {value} is negative; losses are written as positive numbers")
    if number > _HIGHEST[unit]:
        raise _broken(f"{origin}: {key} = {value} is too high for its unit, {unit}")
    # Ten times tighter than the tightest level is rather a fraction than a percentage (0.5 for 50 %).
    if unit == "%" and 0 < number < levels[RiskLevel.CONSERVATIVE] / 10:
        raise _broken(f"{origin}: {key} = {value} looks like a fraction; the unit is %, so write {number * 100:f}")
    if unit == "count" and number != number.to_integral_value():
        raise _broken(f"{origin}: {key} = {value} must be a whole number")
    return number


def _broken(message: str) -> SettingError:
    return SettingError(message, not_done="no limit was changed and nothing may be sent")
