"""This file finds the instrument that an operator means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from perpctl.errors import UsageError
from perpctl.model.instrument import Instrument

_SHOWN = 6  # of a venue's symbols, where none is near the word typed
RETIRED_SUFFIX = "-PERP-INTX"  # names of the exchange that closed on 1 October 2026


def find(symbol: str, instruments: Sequence[Instrument]) -> Instrument:
    """By operator's symbol (BTC-PERP) or product id, in any case. Raises UsageError with suggestions.

    Compared whole: a prefix would take the inverse BTC-PERPETUAL for the linear one.
    """
    wanted = symbol.strip().upper()
    for instrument in instruments:
        if wanted in (instrument.symbol, instrument.product_id):
            return instrument
    if wanted.endswith(RETIRED_SUFFIX):
        raise _retired(symbol, wanted.removesuffix(RETIRED_SUFFIX), instruments)
    close = _suggestions(wanted, instruments)
    listed = ", ".join(instrument.symbol for instrument in instruments[:_SHOWN])
    more = f" and {len(instruments) - _SHOWN} more" if len(instruments) > _SHOWN else ""
    hint = f"; did you mean {', '.join(close)}?" if close else f"; this venue lists {listed}{more}" if listed else ""
    raise UsageError(
        f"unknown symbol {symbol!r}{hint}", not_done="nothing was sent", next_commands=("perpctl market list",)
    )


def _retired(symbol: str, base: str, instruments: Sequence[Instrument]) -> UsageError:
    successor = next((item for item in instruments if item.base == base), None)
    new = f"{successor.symbol} ({successor.product_id}) replaces it" if successor else "it has no successor here"
    return UsageError(
        f"{symbol} was retired on 1 October 2026; {new}",
        not_done="nothing was sent",
        next_commands=("perpctl market list",),
    )


def _suggestions(wanted: str, instruments: Sequence[Instrument]) -> list[str]:
    symbols = [instrument.symbol for instrument in instruments]
    bases = {instrument.base: instrument.symbol for instrument in instruments}
    base = next(iter(wanted.replace("_", "-").split("-")), wanted)
    near = [bases[name] for name in difflib.get_close_matches(base, bases, n=3, cutoff=0.6)]
    return list(dict.fromkeys([*near, *difflib.get_close_matches(wanted, symbols, n=3, cutoff=0.6)]))[:3]
