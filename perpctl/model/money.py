"""Exact decimal arithmetic: parsing that refuses what is not a number, steps, and plain formatting."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext

ZERO = Decimal(0)
MAX_DIGITS = 40


def parse_decimal(value: str | int | Decimal) -> Decimal:
    """A finite decimal from text or an exact number.

    Raises ValueError for NaN, infinities, floats, blanks and absurd magnitudes (more than 40 digits either side).
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError(f"not an exact number: {value!r}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"not a number: {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"not a finite number: {value!r}")
    if len(number.as_tuple().digits) > MAX_DIGITS or abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError(f"number out of range: {value!r}")
    return number


def plain(number: Decimal) -> str:
    """The number without exponent, as it goes on the wire and into JSON."""
    return format(number, "f")


def floor_to(number: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` not above `number` in absolute value (towards zero)."""
    count = (abs(number) / step).to_integral_value(ROUND_FLOOR)
    return (count * step).copy_sign(number)


def price_down(price: Decimal, tick: Decimal) -> Decimal:
    """The nearest tick at or below."""
    return (price / tick).to_integral_value(ROUND_FLOOR) * tick


def price_up(price: Decimal, tick: Decimal) -> Decimal:
    """The nearest tick at or above."""
    return (price / tick).to_integral_value(ROUND_CEILING) * tick


def is_multiple(number: Decimal, step: Decimal) -> bool:
    """Whether `number` is a whole number of `step`s, exactly."""
    with localcontext() as context:
        context.prec = 2 * MAX_DIGITS
        return number % step == 0


def cents(number: Decimal) -> Decimal:
    """Rounded half-even to two places: for showing money, never for computing with it."""
    return number.quantize(Decimal("0.01"), ROUND_HALF_EVEN)
