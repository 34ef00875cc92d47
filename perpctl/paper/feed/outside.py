"""This file watches the real venue's public market, so that the paper exchange can trade beside it."""

from __future__ import annotations

import http.client
import json
import queue
import ssl
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urlsplit

from perpctl.errors import UsageError, VenueUnreachable
from perpctl.paper.types import Print, Product, Tick

VENUE = "https://drb.coinbase.com/api/v2"
EVERY_S = 1.0  # two calls a product: six a second with three products, of the twenty that are free
TIMEOUT_S = 5.0
_MOST_WAITING = 10_000


class OutsideFeed:
    """Ticks of the venue's own market as long as it answers; while it does not, there are none.

    Yields None when nothing new is known yet. Raises VenueUnreachable when the first reads fail: a feed that never
    worked must not look like a quiet market.
    """

    def __init__(self, products: tuple[Product, ...], address: str = VENUE) -> None:
        self._line = _Line(address)
        self._products = [product for product in products if product.tradable]
        self._seen: dict[str, int] = {}  # newest trade_seq by product
        self._ticks: queue.Queue[Tick] = queue.Queue(_MOST_WAITING)
        for product in self._products:
            self._ticks.put(self._read(product))
        threading.Thread(target=self._poll, daemon=True, name="outside market").start()

    def __iter__(self) -> Iterator[Tick | None]:
        while True:
            try:
                yield self._ticks.get_nowait()
            except queue.Empty:
                yield None

    def _poll(self) -> None:
        while True:
            began = time.monotonic()
            for product in self._products:
                try:
                    self._ticks.put(self._read(product), timeout=TIMEOUT_S)
                except (VenueUnreachable, queue.Full):
                    continue  # the next round tries again; its prices carry their own time
            time.sleep(max(0.1, EVERY_S - (time.monotonic() - began)))

    def _read(self, product: Product) -> Tick:
        row = self._line.get("public/ticker", instrument_name=product.name)
        try:
            return Tick(
                product.name,
                int(row["timestamp"]),
                row["best_bid_price"],
                row["best_ask_price"],
                row["best_bid_amount"],
                row["best_ask_amount"],
                row["index_price"],
                row["mark_price"],
                self._prints(product),
            )
        except (KeyError, TypeError, ValueError) as why:
            raise VenueUnreachable(f"the venue's ticker of {product.name} has another shape: {why!r}") from why

    def _prints(self, product: Product) -> tuple[Print, ...]:
        after = self._seen.get(product.name)
        asked = {"count": 1} if after is None else {"count": 100, "start_seq": after + 1}
        trades = self._line.get("public/get_last_trades_by_instrument", instrument_name=product.name, **asked)["trades"]
        new = sorted((row for row in trades if row["trade_seq"] > (after or 0)), key=lambda row: int(row["trade_seq"]))
        if new:
            self._seen[product.name] = int(new[-1]["trade_seq"])
        if after is None:
            return ()  # what traded before we looked is not news
        return tuple(Print(row["direction"], row["price"], row["amount"]) for row in new)


class _Line:
    """One kept connection to the venue."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise UsageError(f"plain HTTP is for loopback only, not {address}")
        self._address, self._path = parts, parts.path
        self._connection: http.client.HTTPConnection | None = None

    def get(self, method: str, **params: Any) -> Any:
        """The result of a public method. Raises VenueUnreachable."""
        try:
            connection = self._connection = self._connection or self._connect()
            connection.request("GET", f"{self._path}/{method}?{urlencode(params)}")
            answer = json.loads(connection.getresponse().read(), parse_float=Decimal, parse_int=Decimal)
            return answer["result"]
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as why:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            raise VenueUnreachable(
                f"the venue's public market at {self._address.netloc} does not answer: {why!r}",
                not_done="the paper exchange has no market from it; no other feed was put in its place",
                next_commands=("perpctl paper serve --feed synthetic",),
            ) from why

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
