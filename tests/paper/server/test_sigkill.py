"""SIGKILL of the exchange in the middle of trading: what a client was told stays true."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.paper.server.exchange import BTC, Exchange, running

pytestmark = pytest.mark.drill
ROUNDS = 4


class Heard:
    """Everything a client was told, by reply or by notification."""

    def __init__(self) -> None:
        self.orders: set[str] = set()
        self.fills: set[str] = set()

    def take(self, frame: dict[str, Any]) -> None:
        result = frame.get("result")
        if isinstance(result, dict) and "order" in result:
            self.orders.add(result["order"]["label"])
            self.fills |= {trade["trade_id"] for trade in result["trades"]}
        if frame.get("method") == "subscription":
            self.fills |= {trade["trade_id"] for trade in frame["params"]["data"]}


async def trade_until_killed(exchange: Exchange, heard: Heard, dice: random.Random, round_: int) -> None:
    async with websockets.connect(exchange.ready["gateway_ws"], proxy=None) as wire:

        async def send(number: int, method: str, **params: Any) -> None:
            await wire.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))

        await send(1, "public/auth", grant_type="coinbase_cdp", token=exchange.jwt())
        await send(2, "private/subscribe", channels=["user.trades.any.any.raw"])
        asyncio.get_running_loop().call_later(dice.uniform(0.1, 0.5), exchange.process.kill)
        price = exchange.rpc("public/ticker", instrument_name=BTC)["mark_price"]
        number = 100
        try:
            while True:
                number += 1
                side, offset = dice.choice((("buy", -3), ("sell", 3)))
                order = {"instrument_name": BTC, "amount": 0.001, "price": round(price + offset), "post_only": False}
                await send(number, f"private/{side}", label=f"{round_}-{number}", **order)
                while True:
                    heard.take(frame := json.loads(await asyncio.wait_for(wire.recv(), 5)))
                    if frame.get("id") == number:
                        break
        except websockets.ConnectionClosed:
            return


def test_nothing_that_a_client_was_told_is_lost_or_doubled(tmp_path: Path) -> None:
    dice, heard = random.Random(3), Heard()
    for round_ in range(ROUNDS):
        with running(tmp_path, "--speed", "60") as exchange:
            exchange.control("state", credits=False)
            asyncio.run(trade_until_killed(exchange, heard, dice, round_))
    with running(tmp_path) as exchange:
        exchange.auth()
        fills, start = [], 0
        while True:
            asked = {"instrument_name": BTC, "count": 1000, "sorting": "asc", "start_seq": start}
            page = exchange.rpc("private/get_user_trades_by_instrument", **asked)
            fills += page["trades"]
            if not page["has_more"]:
                break
            start = page["trades"][-1]["trade_seq"] + 1
        orders = exchange.rpc("private/get_order_state_by_label", currency="USDC")
        position = exchange.rpc("private/get_position", instrument_name=BTC)["size_currency"]
    ids = [fill["trade_id"] for fill in fills]
    assert len(heard.orders) > 20
    assert len(ids) == len(set(ids))
    assert heard.fills <= set(ids)
    assert heard.orders <= {order["label"] for order in orders}
    signed = sum(fill["amount"] * (1 if fill["direction"] == "buy" else -1) for fill in fills)
    assert abs(position - signed) < 1e-9
    told = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    booked = [row["trade"]["trade_id"] for row in told if "trade" in row]
    assert sorted(booked) == sorted(ids)
