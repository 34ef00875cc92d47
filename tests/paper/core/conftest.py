"""A small floor: one exchange, accounts 7 (desk) and 8 (other), a BTC market at 84,000 that only tests move."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from perpctl.paper.core import Exchange, Placed
from perpctl.paper.products import BTC, GATEWAY_PRODUCTS, GATEWAY_RULES
from perpctl.paper.types import NewOrder, Order, Print, Rejected, Tick

START_MS = 1_790_766_000_000  # 30 September 2026, 11:00 UTC
D = Decimal


class Floor:
    """What tests say about the exchange, in a line each."""

    def __init__(self) -> None:
        self.exchange = Exchange(GATEWAY_PRODUCTS, GATEWAY_RULES, START_MS)
        self.exchange.open_account(7, "desk", START_MS)
        self.exchange.open_account(8, "other", START_MS)
        self.tick("84000")

    @property
    def now(self) -> int:
        return self.exchange.now

    def tick(
        self,
        bid: str,
        *,
        ask: str | None = None,
        prints: tuple[Print, ...] = (),
        mark: str | None = None,
        index: str | None = None,
        amounts: tuple[str, str] = ("0.5", "0.5"),
        after_ms: int = 1000,
        product: str = BTC.name,
    ) -> None:
        """The outside best bid is `bid`, the ask one tick above; mark and index follow the bid unless named."""
        low = D(bid)
        high = D(ask) if ask else low + D("0.1")
        at_mark = D(mark) if mark else low
        at_index = D(index) if index else at_mark
        bid_amount, ask_amount = D(amounts[0]), D(amounts[1])
        at_ms = self.now + after_ms
        self.exchange.on_tick(Tick(product, at_ms, low, high, bid_amount, ask_amount, at_index, at_mark, prints))

    def buy(self, amount: str, price: str | None = None, account: int = 7, **members: Any) -> Placed:
        return self._place("buy", amount, price, account, members)

    def sell(self, amount: str, price: str | None = None, account: int = 7, **members: Any) -> Placed:
        return self._place("sell", amount, price, account, members)

    def _place(self, direction: Any, amount: str, price: str | None, account: int, members: dict[str, Any]) -> Placed:
        for name in ("trigger_price", "trigger_offset", "allocated_margin"):
            if name in members:
                members[name] = D(members[name])
        members.setdefault("type", "limit" if price else "market")
        members.setdefault("product", BTC.name)
        new = NewOrder(direction=direction, amount=D(amount), price=D(price) if price else None, **members)
        return self.exchange.place(account, new, self.now)

    def order(self, placed: Placed, account: int = 7, **members: Any) -> Order:
        """The order as it stands now."""
        return self.exchange.order(account, placed.order.order_id, **members)

    def size(self, account: int = 7) -> Decimal:
        return self.exchange.position(account, BTC.name).size

    def check(self) -> None:
        """Every account's money adds up."""
        for account_id in self.exchange.account_ids():
            for each in (account_id, *self.exchange.slot_ids(account_id)):
                self.exchange.check_identity(each)


@pytest.fixture
def floor() -> Floor:
    return Floor()


def refused(call: Callable[[], object]) -> int:
    """The code that the call is refused with."""
    with pytest.raises(Rejected) as caught:
        call()
    return caught.value.code
