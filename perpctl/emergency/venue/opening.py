"""This file opens a venue by the name that settings give it: the only place that knows them by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from perpctl.emergency.venue import terms
from perpctl.emergency.venue.terms import Terms
from perpctl.emergency.venue.wire import Line
from perpctl.emergency.world import World

if TYPE_CHECKING:
    from perpctl.emergency.target import Address
    from perpctl.emergency.venue.port import Venue

Dial = Callable[[str, str | None], Line]
"""From a base URL and a file of authorities to what a client sends through."""

_TERMS = {"global": terms.GLOBAL, "us": terms.US}


def terms_of(venue: str) -> Terms:
    """What is particular to a venue; of one that is not spoken, only names for people are used."""
    return _TERMS.get(venue, terms.GLOBAL)


def open_venue(address: Address, line: Line, world: World, unfit: Collection[Path] = ()) -> Venue:
    """The account there, not yet entered; keys that proved unfit are left out while another one is there."""
    keys = [path for path in address.key_files if path not in unfit] or list(address.key_files)
    if address.venue == "us":
        from perpctl.emergency.venue.advanced_trade.client import AdvancedTrade

        return AdvancedTrade(line, address.http, keys, address.pin, address.key_name, world=world)
    from perpctl.emergency.venue.gateway.client import Gateway

    return Gateway(line, keys, address.pin, address.key_name, world)
