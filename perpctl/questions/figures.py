"""This file turns exact numbers into the words of a view: separators, units, signs, ages; missing stays missing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.model.money import cents, plain

if TYPE_CHECKING:
    from perpctl.exchange.port import VenueTerms
    from perpctl.model.venue.calendar import VenueCalendar

MISSING = "?"


def money(amount: Decimal | None, *, signed: bool = False) -> str:
    """Two decimals with thousands separators; `?` when it could not be read."""
    if amount is None:
        return MISSING
    shown = cents(amount) + 0  # a negative nothing is nothing
    return f"{shown:+,.2f}" if signed else f"{shown:,.2f}"


def price(amount: Decimal | None, decimals: int) -> str:
    """With the product's own number of decimals."""
    return MISSING if amount is None else f"{amount:,.{decimals}f}"


def size(amount: Decimal | None, unit: str, decimals: int, *, signed: bool = True) -> str:
    """Base coin with its unit."""
    if amount is None:
        return MISSING
    return f"{amount:+,.{decimals}f} {unit}" if signed else f"{amount:,.{decimals}f} {unit}"


def percent(fraction: Decimal | None, decimals: int = 2, *, signed: bool = True) -> str:
    """A fraction shown as a percentage."""
    if fraction is None:
        return MISSING
    shown = (fraction * 100).quantize(Decimal(1).scaleb(-decimals)) + 0  # a negative nothing is nothing
    return f"{shown:+.{decimals}f} %" if signed else f"{shown:.{decimals}f} %"


def age(seconds: float) -> str:
    """How long ago, as short as an eye needs it."""
    if seconds < 100:
        return f"{max(seconds, 0.0):.1f}s"
    return f"{seconds:.0f}s" if seconds < 600 else span(seconds)


def span(seconds: float) -> str:
    """A duration in its two largest units: `4 h 47 m`."""
    left = timedelta(seconds=int(seconds))
    minutes, rest = divmod(left.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(left.days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(shown[:2]) if shown else "0 s"


def count(number: int, thing: str, things: str = "") -> str:
    """`1 fill`, `2 fills`; `things` where an s is not enough."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def clock(at_ms: int) -> str:
    """A moment of the venue's: `25 Nov 03:12:09 UTC`."""
    return f"{from_ms(at_ms):%d %b %H:%M:%S} UTC"


def text(amount: Decimal | None) -> str | None:
    """For JSON: money and sizes as strings, absent as null."""
    return None if amount is None else plain(amount)


def texts(pairs: Iterable[tuple[str, Decimal | None]]) -> dict[str, str | None]:
    """Several of them."""
    return {key: text(amount) for key, amount in pairs}


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum, or None as soon as one part is missing: a partial sum is not a total."""
    added = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        added += amount
    return added


def coin_of(product_id: str) -> str:
    """The unit of a size by the product's name alone, when no venue can be asked; some names do not tell the coin."""
    base, in_name, _ = product_id.partition("_")
    return base if in_name else "coin"


def day_turn(terms: VenueTerms) -> str:
    """What happens at the venue when its day starts."""
    return "settlement" if terms.continuous_funding else "session roll"


def day_start(calendar: VenueCalendar) -> str:
    """When the venue's day starts, by its own clock: `08:00 UTC`, `17:00 New York`."""
    return f"{calendar.day.at:%H:%M} {calendar.day.zone.rpartition('/')[2].replace('_', ' ')}"
