"""The US face as a process: addresses, one feed for both venues, memory across restarts and SIGKILL, faults, TLS."""

from __future__ import annotations

import json
import ssl
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from perpctl.paper.advanced_trade.face import REST_PATH
from perpctl.paper.state import forget
from tests.paper.advanced_trade.trader import BIP_ID
from tests.paper.gateway.trader import sign
from tests.paper.server.exchange import Exchange

pytestmark = pytest.mark.drill


class UsExchange(Exchange):
    """One server process, spoken to at its US face."""

    def us(self, method: str, path: str, *, host: str = "api.coinbase.com", **given: Any) -> httpx.Response:
        key = json.loads(Path(self.ready["key_file"]).read_text())
        token = sign(key, time.time(), uri=f"{method} {host}{REST_PATH}{path}")
        url = self.ready["advanced_trade_rest"] + path
        return self.client.request(method, url, headers={"authorization": f"Bearer {token}"}, **given)

    def read(self, path: str, **query: Any) -> Any:
        answer = self.us("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, kind: str = "market_market_ioc", client_order_id: str = "", **terms: str) -> Any:
        body = {
            "client_order_id": client_order_id or str(uuid.uuid4()),
            "product_id": BIP_ID,
            "side": "BUY",
            "order_configuration": {kind: {"base_size": "1", **terms}},
        }
        return self.us("POST", "/orders", json=body).json()

    def price(self) -> int:
        return int(Decimal(self.read(f"/products/{BIP_ID}")["price"]))

    @contextmanager
    def socket(self, name: str) -> Iterator[Any]:
        trust = ssl.create_default_context(cafile=self.ready["ca_file"]) if self.ready["ca_file"] else None
        with connect(self.ready[name], ssl=trust, proxy=None, max_size=None) as socket:
            yield socket


@contextmanager
def running(state_dir: Path, *options: str) -> Iterator[UsExchange]:
    exchange = UsExchange(state_dir, *options)
    try:
        yield exchange
    finally:
        exchange.close()


def hear(socket: Any, channel: str) -> Any:
    """The next message of a channel."""
    while True:
        message = json.loads(socket.recv(timeout=20))
        if message.get("channel") == channel:
            return message


def drain(socket: Any) -> None:
    """Read until the connection ends."""
    while True:
        socket.recv(timeout=20)


def account(exchange: UsExchange) -> Any:
    orders = [
        (row["order_id"], row["status"], row["edit_history"])
        for row in exchange.read("/orders/historical/batch")["orders"]
    ]
    fills = [row["entry_id"] for row in exchange.read("/orders/historical/fills")["fills"]]
    cash = exchange.read("/cfm/balance_summary")["balance_summary"]["cfm_usd_balance"]["value"]
    held = [row["number_of_contracts"] for row in exchange.read("/cfm/positions")["positions"]]
    return orders, fills, cash, held


@pytest.mark.parametrize("tls", [False, True])
def test_every_address_of_the_ready_line_answers(tmp_path: Path, tls: bool) -> None:
    with running(tmp_path, *(("--tls",) if tls else ())) as exchange:
        assert exchange.read("/key_permissions")["can_trade"] is True
        host = exchange.ready["advanced_trade_rest"].split("/")[2]
        assert exchange.us("GET", "/accounts", host=host).status_code == 200  # as asked for, with its port
        assert exchange.us("GET", "/accounts", host="other.example").status_code == 401
        for name in ("advanced_trade_ws", "advanced_trade_ws_user"):
            with exchange.socket(name) as socket:
                key = json.loads(Path(exchange.ready["key_file"]).read_text())
                token = sign(key, time.time())
                socket.send(json.dumps({"type": "subscribe", "channel": "user", "jwt": token}))
                assert hear(socket, "user")["events"][0]["orders"] == []
                exchange.order()
                statuses = [row["status"] for row in hear(socket, "user")["events"][0]["orders"]]
                assert statuses
                socket.send(json.dumps({"type": "subscribe", "channel": "heartbeats"}))
                assert hear(socket, "heartbeats")["events"][0]["heartbeat_counter"] == 1


def test_both_venues_are_on_one_feed_and_keep_their_own_money(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.auth()
        exchange.control("price", instrument_name=BIP_ID, price="90000")
        assert abs(exchange.price() - 90_000) <= 20
        mark = exchange.rpc("public/ticker", instrument_name="BTC_USDC-PERPETUAL")["mark_price"]
        assert abs(mark - 90_000) < 100
        exchange.order()
        assert exchange.rpc("private/get_positions") == []
        status = exchange.control("status", "GET")
        assert status["us"]["accounts"]["1"]["positions"] == {BIP_ID: "0.01"}
        assert status["accounts"]["1"]["positions"] == {}


def test_what_was_acknowledged_survives_sigkill_and_a_restart(tmp_path: Path) -> None:
    known: Any = None
    for round_ in range(3):
        with running(tmp_path) as exchange:
            if known is not None:
                orders, fills, cash, held = account(exchange)
                assert (orders, fills, held) == (known[0], known[1], known[3])
                # Shown cash is equity less profit, each rounded by itself: it wavers by a cent as the market moves.
                assert abs(Decimal(cash) - Decimal(known[2])) <= Decimal("0.01")
                again = exchange.order(client_order_id=f"fill{round_ - 1}")
                assert again["order_id"] in [row[0] for row in known[0]]
            taken = exchange.order(client_order_id=f"fill{round_}")
            assert taken["success"], taken
            price = str(exchange.price() // 5 * 5 - 1000)
            resting = exchange.order("limit_limit_gtc", limit_price=price)["order_id"]
            edited = exchange.us("POST", "/orders/edit", json={"order_id": resting, "price": price, "size": "2"}).json()
            assert edited["success"], edited
            known = account(exchange)
            if round_ == 1:
                assert exchange.stop() == 0
            else:
                exchange.kill()
    told = [json.loads(line) for line in (tmp_path / "us" / "ledger.jsonl").read_text().splitlines()]
    fills = [row["trade"] for row in told if "trade" in row]
    assert len({row["order_id"] for row in fills}) == 3


def test_a_reset_forgets_orders_money_and_a_clients_ids_and_ends_connections(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        first = exchange.order(client_order_id="same")
        with exchange.socket("advanced_trade_ws") as socket:
            socket.send(json.dumps({"type": "subscribe", "channel": "heartbeats"}))
            hear(socket, "heartbeats")
            exchange.control("reset")
            with pytest.raises(ConnectionClosed):
                drain(socket)
        exchange.control("advance", seconds=2)  # a new market needs its first ticks
        assert account(exchange) == ([], [], "100000", [])
        assert exchange.order(client_order_id="same")["success"]
        assert first["success"]
        assert account(exchange)[3] == ["1"]
        assert exchange.stop() == 0
    forget(tmp_path)
    with running(tmp_path) as exchange:
        assert account(exchange) == ([], [], "100000", [])


def test_faults_and_switches_act_on_this_face(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        exchange.control("fault", kind="drop_after", method=f"POST {REST_PATH}/orders")
        with pytest.raises(httpx.HTTPError):
            exchange.order(client_order_id="lost")
        assert exchange.order(client_order_id="lost")["success"]
        assert len(exchange.read("/orders/historical/fills")["fills"]) == 1
        exchange.control("fault", kind="http_status", method="GET *", status=503, body="<html>busy</html>")
        busy = exchange.us("GET", "/accounts")
        assert (busy.status_code, busy.text) == (503, "<html>busy</html>")
        exchange.control("switches", proof_token="x")
        assert exchange.read("/orders/historical/batch")["proof_token_required"] is True
        exchange.control("fault", kind="outage")
        with pytest.raises(httpx.HTTPError):
            exchange.us("GET", "/accounts")
        exchange.control("fault", "DELETE")
        assert exchange.us("GET", "/accounts").status_code == 200


def test_the_weekly_stop_is_reached_by_moving_market_time(tmp_path: Path) -> None:
    with running(tmp_path) as exchange:
        stop = exchange.read(f"/products/{BIP_ID}")["fcm_trading_session_details"]["maintenance"]["start_time"]
        now = exchange.read("/time")["iso"]
        ahead = (datetime.fromisoformat(stop) - datetime.fromisoformat(now)).total_seconds()
        exchange.control("advance", seconds=ahead + 5, quiet=True)
        answer = exchange.order()
        assert answer["error_response"]["error"] == "INVALID_FCM_TRADING_SESSION"
