"""This file is the global venue as an Exchange: every read and write of the port, in the gateway's terms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal

from perpctl.clock import Clock
from perpctl.exchange.access import Access
from perpctl.exchange.budget import Budget
from perpctl.exchange.port import (
    Candle,
    Identity,
    MaySend,
    Outcome,
    Session,
    Unsupported,
    VenueStatus,
)
from perpctl.exchange.transport import Transport
from perpctl.model.fill import Fill, FundingPayment, FundingRate
from perpctl.model.instrument import Book, Instrument, Quote
from perpctl.model.order import Order, OrderRequest
from perpctl.model.position import Account, Position


def open_gateway(
    access: Access,
    clock: Clock,
    *,
    may_send: MaySend | None = None,
    budget: Budget | None = None,
    transport: Transport | None = None,
) -> Gateway:
    """The global venue through `access`; nothing is sent and no key is read until the first call.

    `may_send` is asked right before the bytes of every order that is not reduce-only leave. `transport` replaces the
    network: a simulation hands in memory pairs.
    """
    return Gateway(access, clock, may_send, budget or Budget(clock), transport)


class Gateway:
    """The Coinbase derivatives gateway, implementing `port.Exchange`."""

    venue = "global"

    def __init__(
        self,
        access: Access,
        clock: Clock,
        may_send: MaySend | None,
        budget: Budget,
        transport: Transport | None,
    ) -> None:
        self._clock = clock
        self._may_send = may_send
        self._budget = budget

    async def time_ms(self) -> int:
        raise NotImplementedError

    async def identity(self) -> Identity:
        raise NotImplementedError

    async def status(self) -> VenueStatus:
        raise NotImplementedError

    async def instruments(self) -> tuple[Instrument, ...]:
        raise NotImplementedError

    async def instrument(self, symbol: str) -> Instrument:
        raise NotImplementedError

    async def quote(self, product_id: str) -> Quote:
        raise NotImplementedError

    async def book(self, product_id: str, depth: int = 20) -> Book:
        raise NotImplementedError

    async def candles(self, product_id: str, start_ms: int, end_ms: int, minutes: int) -> tuple[Candle, ...]:
        raise NotImplementedError

    async def account(self) -> Account:
        raise NotImplementedError

    async def positions(self) -> tuple[Position, ...]:
        raise NotImplementedError

    async def open_orders(self) -> tuple[Order, ...]:
        raise NotImplementedError

    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]:
        raise NotImplementedError

    async def order_history(self, since_ms: int) -> tuple[Order, ...]:
        raise NotImplementedError

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        raise NotImplementedError

    async def funding_rate(self, product_id: str) -> FundingRate | Unsupported:
        raise NotImplementedError

    async def funding_payments(self, since_ms: int) -> tuple[FundingPayment, ...] | Unsupported:
        raise NotImplementedError

    async def place(self, request: OrderRequest) -> Outcome:
        raise NotImplementedError

    async def cancel(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        raise NotImplementedError

    async def cancel_entries(self) -> Outcome | Unsupported | int:
        raise NotImplementedError

    async def close(self, position: Position, limit_price: Decimal | None) -> Outcome:
        raise NotImplementedError

    def session(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[Session]:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError
