"""This file sets up what the kill drills at the US venue need: the exchange's other face, and a trader there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from perpctl.emergency.venue.advanced_trade.rest import Rest
from perpctl.emergency.venue.signing import read_key
from perpctl.emergency.venue.wire import Wire
from perpctl.emergency.world import ThisMachine
from tests.drills.killing import Desk, running_exchange, wait_until

BIP, ETP, SLP = "BIP-20DEC30-CDE", "ETP-20DEC30-CDE", "SLP-20DEC30-CDE"


@dataclass
class UsTrader:
    """Somebody who trades the US account while or before it is killed."""

    rest: Rest

    def bid(self, product: str) -> Decimal:
        book = self.rest.get("product_book", (("product_id", product), ("limit", "1")))
        return Decimal(book["pricebook"]["bids"][0]["price"])

    def send(self, side: str, product: str, kind: str, **terms: Any) -> str:
        body = {
            "client_order_id": str(uuid.uuid4()),
            "product_id": product,
            "side": side,
            "order_configuration": {kind: terms},
        }
        answer = self.rest.post("orders", body)
        assert answer["success"], answer
        return str(answer["success_response"]["order_id"])

    def market(self, side: str, product: str, contracts: int) -> str:
        return self.send(side, product, "market_market_ioc", base_size=str(contracts))

    def bid_below(self, product: str, contracts: int, percent: str = "1") -> str:
        price = self._on_tick(product, self.bid(product) * (1 - Decimal(percent) / 100))
        return self.send("BUY", product, "limit_limit_gtc", base_size=str(contracts), limit_price=price)

    def stop(self, side: str, product: str, contracts: int, percent: str) -> str:
        sign = 1 if side == "BUY" else -1
        stop = self.bid(product) * (1 + sign * Decimal(percent) / 100)
        return self.send(
            side,
            product,
            "stop_limit_stop_limit_gtc",
            base_size=str(contracts),
            stop_price=self._on_tick(product, stop),
            limit_price=self._on_tick(product, stop * (1 + sign * Decimal("0.01"))),
            stop_direction=f"STOP_DIRECTION_STOP_{'UP' if sign > 0 else 'DOWN'}",
        )

    def status(self, order_id: str) -> str:
        return str(self.rest.get(f"orders/historical/{order_id}")["order"]["status"])

    def listed(self, **query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.rest.get("orders/historical/batch", tuple(query.items()))["orders"]
        return rows

    def _on_tick(self, product: str, price: Decimal) -> str:
        tick = {BIP: Decimal(5), ETP: Decimal("0.5"), SLP: Decimal("0.01")}[product]
        return str((price / tick).to_integral_value() * tick)


@dataclass
class UsDesk(Desk):
    """A profile at the US venue on this host, and `kill` run in it."""

    def validate(self, profile: str = "paper", **settings: object) -> None:
        account = self.exchange.server["us_account"]
        usual = {
            "venue": "us",
            "account": {"id": account["id"], "username": None},
            "kill": {"foreground_s": 25, "hold_s": 1, "hold_unproven_s": 3},  # a proof takes 3 s there
        }
        super().validate(profile, **{**usual, **settings})

    @property
    def account(self) -> dict[str, Any]:
        """As the exchange's own books have it."""
        accounts: dict[str, Any] = self.exchange.control("status")["us"]["accounts"]
        return accounts["1"]

    @property
    def is_flat(self) -> bool:
        return not self.account["positions"] and self.account["open_orders"] == 0

    @cached_property
    def _trader(self) -> UsTrader:
        server = self.exchange.server
        line = Wire(server["advanced_trade_rest"], server["ca_file"])
        rest = Rest(line, server["advanced_trade_rest"], ThisMachine())
        rest.key = read_key(Path(server["key_file"]))
        return UsTrader(rest)

    def trader(self) -> UsTrader:
        """The one at this exchange, on one connection."""
        return self._trader


@contextmanager
def us_desk(directory: Path, *words: str) -> Iterator[UsDesk]:
    """An exchange and a desk of their own, with a book to trade in."""
    with running_exchange(directory / "exchange", *words) as exchange:
        desk = UsDesk(directory / "state", directory / "config", exchange)
        desk.validate()
        wait_until(lambda: desk.trader().bid(SLP) > 0, 10)
        yield desk
        desk.trader().rest.line.hang_up()
        desk.end_workers()
