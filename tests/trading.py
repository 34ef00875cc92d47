"""Trading by hand against the running paper exchange, for tests that need orders and positions to look at."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.desk import Desk
from perpctl.exchange.port import Confirmed
from perpctl.model import identity
from perpctl.model.order import Order, OrderRequest, OrderType, Purpose, Side, TimeInForce

BTC = "BTC_USDC-PERPETUAL"
ETH = "ETH_USDC-PERPETUAL"
PRODUCTS = {"global": BTC, "us": "BIP-20DEC30-CDE"}
TICKS = {"global": Decimal("0.1"), "us": Decimal(5)}
# What a fault has to hit, by what it does and where.
CALLS = {
    "global": {
        "mass cancel": "private/cancel_all_by_currency",
        "open orders": "private/get_open_orders",
        "positions": "private/get_positions",
        "buy": "private/buy",
        "sell": "private/sell",
        "order by label": "private/get_order_state_by_label",
    },
    "us": {
        "mass cancel": "POST */orders/batch_cancel",
        "open orders": "GET */orders/historical/batch",
        "positions": "GET */cfm/positions",
        "buy": "POST */orders",
        "sell": "POST */orders",
        "order by label": "GET */orders/historical/batch",
    },
}


def btc(at: Desk | dict[str, Any]) -> str:
    """The venue's perpetual on BTC."""
    return PRODUCTS[at.settings.venue if isinstance(at, Desk) else at["venue"]]


def call(paper: dict[str, Any], what: str) -> str:
    """The pattern of a fault that hits this call at the venue of the test."""
    return CALLS[paper["venue"]][what]


@asynccontextmanager
async def at_the_desk() -> AsyncIterator[Desk]:
    """A desk at the paper exchange, on the machine's clock: sockets and servers do not wait for a test's clock."""
    desk = Desk(profile.load("paper"), SystemClock())
    try:
        yield desk
    finally:
        await desk.aclose()


def market(paper: dict[str, Any]) -> Decimal:
    """What BTC is at; the perpetuals of both venues are made from one price of the coin."""
    return Decimal(str(control(paper, "/status", method="GET")["marks"][BTC]))


def move(paper: dict[str, Any], price: Decimal) -> None:
    """The market in it goes there, on the tick."""
    tick = TICKS[paper["venue"]]
    on_the_tick = (price / tick).to_integral_value() * tick
    control(paper, "/price", {"instrument_name": btc(paper), "price": f"{on_the_tick:f}"})


def control(paper: dict[str, Any], path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
    """One request to the control plane of the running exchange."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{paper['control']}{path}", data, method=method)
    trust = ssl.create_default_context(cafile=paper["ca_file"]) if paper["ca_file"] else None
    with urllib.request.urlopen(request, timeout=10, context=trust) as answer:
        return json.load(answer)


def our_name(desk: Desk) -> str:
    """An identity of our making."""
    return identity.make(desk.identity_key(), 1, secrets.randbits(64))


async def place(desk: Desk, **asked: Any) -> Order:
    """One order, confirmed. Sizes and prices as text; `name` None makes it ours."""
    name = asked.pop("name", None) or our_name(desk)
    trigger = asked.pop("trigger_price", None)
    price = asked.pop("price", None)
    request = OrderRequest(
        identity=name,
        product_id=asked.pop("product_id", btc(desk)),
        side=Side(asked.pop("side", "BUY")),
        size=Decimal(asked.pop("size", "0.01")),
        type=OrderType.STOP_MARKET if trigger else OrderType.LIMIT if price else OrderType.MARKET,
        price=None if price is None else Decimal(price),
        time_in_force=TimeInForce.GTC if price or trigger else TimeInForce.IOC,
        reduce_only=asked.pop("reduce_only", False),
        trigger_price=None if trigger is None else Decimal(trigger),
        trigger="mark_price" if trigger else None,
        purpose=Purpose.TEST,
    )
    assert not asked, f"unknown words: {asked}"
    outcome = await (await desk.exchange()).place(request)
    assert isinstance(outcome, Confirmed), outcome
    return outcome.order


async def entry(desk: Desk, side: str = "BUY", **asked: Any) -> Order:
    """A limit order that rests half a percent away from the market."""
    away = Decimal("0.995") if side == "BUY" else Decimal("1.005")
    return await place(desk, side=side, price=await _away(desk, away, asked.get("product_id")), **asked)


async def stop(desk: Desk, side: str = "SELL", **asked: Any) -> Order:
    """A protective stop, reduce-only, three percent away."""
    away = Decimal("0.97") if side == "SELL" else Decimal("1.03")
    trigger = await _away(desk, away, asked.get("product_id"))
    return await place(desk, side=side, trigger_price=trigger, reduce_only=True, **asked)


async def _away(desk: Desk, factor: Decimal, product_id: str | None) -> str:
    """The market's price times a factor, on the venue's tick."""
    quote = await (await desk.exchange()).quote(product_id or btc(desk))
    price = quote.mark or quote.last
    assert price is not None
    tick = TICKS[desk.settings.venue]
    return f"{(price * factor / tick).to_integral_value() * tick:f}"


async def held(desk: Desk) -> dict[str, Decimal]:
    """Signed sizes by product, as the venue says."""
    return {one.product_id: one.size for one in await (await desk.exchange()).positions()}


async def working(desk: Desk) -> set[str]:
    """Order ids that can still fill, as the venue says."""
    return {one.order_id for one in await (await desk.exchange()).open_orders()}


def masked(text: str) -> str:
    """A view without what changes from run to run: every number, and the spaces that line numbers up."""
    plain = re.sub(r"[\d.]+ [dhms]( \d+ [dhms])?(?![a-z])", "SPAN", text)
    plain = re.sub(r"[+-]?\d[\d,.]*", "N", plain)
    plain = re.sub(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) N [A-Z][a-z]{2}", "DAY", plain)
    return re.sub(r" {2,}", "  ", plain)
