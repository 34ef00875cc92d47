"""This file knows the venue's futures: found in its product list, never in a table of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from perpctl.errors import PerpctlError, UsageError, VenueRefused, VenueUnreachable
from perpctl.exchange.advanced_trade.rest import Rest
from perpctl.exchange.advanced_trade.wire import products as wire
from perpctl.exchange.advanced_trade.wire.products import Contract, Fees
from perpctl.exchange.both import symbols
from perpctl.exchange.both.document import Malformed, Row, rows_of, text
from perpctl.exchange.repeats import PAGE, SINGLE
from perpctl.model.instrument import Instrument

FRESH_S = 20.0  # sessions open and close, and a product can be halted
UNITS_S = 3600.0  # contract sizes do not change for a contract; a new one has a new id
FEES_S = 86_400.0
FUTURES = {"product_type": "FUTURE"}


class Listing:
    """The futures of the venue as last listed."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._listing = asyncio.Lock()
        self._rows: tuple[Row, ...] = ()
        self._listed_at = float("-inf")
        self._units: dict[str, Contract] = {}
        self._units_at = float("-inf")
        self._asking_fees = asyncio.Lock()
        self._fees: Fees | None = None
        self._fees_at = float("-inf")

    async def rows(self, *, fresh: bool = False) -> tuple[Row, ...]:
        """Every future, dated ones too; asked anew when the last answer is no longer young, or when `fresh` says so."""
        async with self._listing:  # questions asked side by side need one list
            now = self._rest.clock.monotonic()
            if fresh or now - self._listed_at > FRESH_S:
                path, signed = self.twin("/products")
                self._rows = await self._rest.read(path, FUTURES, _futures, PAGE, signed=signed)
                self._listed_at = self._units_at = now
                self._units = {unit.product_id: unit for unit in map(wire.contract, self._rows)}
        return self._rows

    async def row(self, product_id: str) -> Row:
        """One product as it is now. Raises UsageError when the venue knows none of that name."""
        path, signed = self.twin(f"/products/{product_id}")
        try:
            return await self._rest.read(path, {}, lambda row: _about(product_id, row), SINGLE, signed=signed)
        except VenueRefused as why:
            if why.code in (400, 404):
                raise UsageError(f"the venue has no product {product_id}", not_done="nothing was sent") from why
            raise

    async def unit(self, product_id: str) -> Contract:
        """What a contract of a product is; one that is not listed any more is asked for by its id."""
        if self._rest.clock.monotonic() - self._units_at > UNITS_S:
            await self.rows()
        if product_id not in self._units:
            self._units[product_id] = await self._unlisted(product_id)
        return self._units[product_id]

    async def _unlisted(self, product_id: str) -> Contract:
        """A contract that has expired is gone by its id too; its code stands for the same size in every month."""
        try:
            return wire.contract(await self.row(product_id))
        except UsageError as why:
            code = product_id.partition("-")[0]
            for name, unit in self._units.items():
                if name.partition("-")[0] == code:
                    return replace(unit, product_id=product_id)
            raise VenueUnreachable(
                f"{product_id}: the venue tells its contract size no more, so nothing in it can be counted",
                not_done="nothing was learned about it",
            ) from why

    async def units(self, product_ids: Sequence[str]) -> dict[str, Contract]:
        """The same for several."""
        return {one: await self.unit(one) for one in dict.fromkeys(product_ids)}

    async def instruments(self, *, fresh: bool = False) -> tuple[Instrument, ...]:
        """The perpetual-style futures."""
        rows, fees = await self.rows(fresh=fresh), await self._tier()
        found = [wire.instrument(row, fees) for row in rows if wire.is_perpetual(row)]
        return tuple(sorted(found, key=lambda one: one.symbol))

    async def instrument(self, symbol: str) -> Instrument:
        """By operator's symbol or product id; a dated future only by its id. Raises UsageError with suggestions."""
        wanted = symbol.strip().upper()
        for row in await self.rows():
            if row.get("product_id") == wanted:
                return wire.instrument(row, await self._tier())
        return symbols.find(symbol, await self.instruments())

    async def _tier(self) -> Fees | None:
        """Our fee tier; None when it cannot be read: a fee that is not known is not shown as zero."""
        async with self._asking_fees:
            if self._rest.has_key and self._rest.clock.monotonic() - self._fees_at > FEES_S:
                await self._read_fees()
            return self._fees

    async def _read_fees(self) -> None:
        query = {"product_type": "FUTURE", "product_venue": "FCM"}
        try:
            self._fees = await self._rest.read("/transaction_summary", query, wire.fees)
        except PerpctlError:
            self._fees = None
        self._fees_at = self._rest.clock.monotonic()

    def twin(self, path: str) -> tuple[str, bool]:
        """(path, signed): the public twin when there is no key; it may be a second old."""
        return (path, True) if self._rest.has_key else (f"/market{path}", False)


def _futures(answer: Row) -> tuple[Row, ...]:
    rows = rows_of(answer.get("products"), "products")
    return tuple(row for row in rows if wire.is_future(row))


def _about(product_id: str, row: Row) -> Row:
    if text(row, "product_id") != product_id:
        raise Malformed(f"the answer speaks of {row['product_id']}")
    return row
