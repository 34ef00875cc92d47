"""Drives the US face with Coinbase's own SDK. Runs where perpctl is not installed; prints verdicts as JSON."""

import inspect
import json
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta

from coinbase.rest import RESTClient
from coinbase.websocket import WSClient

READY = json.loads(sys.argv[1])
HOST = READY["advanced_trade_rest"].split("//")[1].split("/")[0]
BIP = "BIP-20DEC30-CDE"
NOW = int(time.time())
VERDICTS = {}
# Spot and payments are not this desk's business; the INTX methods are called to see them refused.
ELSEWHERE = {
    "create_convert_quote", "get_convert_trade", "commit_convert_trade", "list_payment_methods", "get_payment_method",
    "create_portfolio", "edit_portfolio", "delete_portfolio", "move_portfolio_funds", "get", "post", "put", "delete",
    "prepare_and_send_request", "send_request", "set_headers",
}  # fmt: skip
CALLED = set()


def judge(client, name, *args, **kwargs):
    """Call a method of the SDK and keep what it answered, or what it raised."""
    CALLED.add(name)
    key, number = name, 1
    while key in VERDICTS:
        number += 1
        key = f"{name} {number}"
    try:
        answer = getattr(client, name)(*args, **kwargs).to_dict()
        VERDICTS[key] = {"ok": True, "result": answer}
        return answer
    except Exception as wrong:  # noqa: BLE001  whatever the SDK raises is the verdict
        VERDICTS[key] = {"ok": False, "message": f"{type(wrong).__name__}: {wrong}"}
    return {}


def new_id():
    return str(uuid.uuid4())


def reads(client):
    judge(client, "get_unix_time")
    window = {"start": str(NOW - 3600), "end": str(NOW), "granularity": "ONE_MINUTE"}
    for twin in ("", "public_"):
        judge(client, f"get_{twin}products", product_type="FUTURE", limit=3)
        judge(client, f"get_{twin}product", BIP)
        judge(client, f"get_{twin}product_book", BIP, limit=5)
        judge(client, f"get_{twin}candles", BIP, **window)
        judge(client, f"get_{twin}market_trades", BIP, limit=5)
    judge(client, "get_best_bid_ask", [BIP])
    accounts = judge(client, "get_accounts", limit=10)
    judge(client, "get_account", accounts["accounts"][0]["uuid"])
    portfolios = judge(client, "get_portfolios")
    judge(client, "get_portfolio_breakdown", portfolios["portfolios"][0]["uuid"], currency="USD")
    judge(client, "get_api_key_permissions")
    judge(client, "get_transaction_summary", product_type="FUTURE", product_venue="FCM")
    judge(client, "get_futures_balance_summary")
    judge(client, "get_current_margin_window", "MARGIN_PROFILE_TYPE_RETAIL_REGULAR")
    judge(client, "get_intraday_margin_setting")
    judge(client, "set_intraday_margin_setting", "INTRADAY_MARGIN_SETTING_INTRADAY")
    judge(client, "list_futures_sweeps")
    judge(client, "schedule_futures_sweep", "10")
    judge(client, "list_futures_sweeps")
    judge(client, "cancel_pending_futures_sweep")


def every_order(client, price):
    """Each shape of order for both sides, as preview and as order."""
    low, high, end = str(price - 500), str(price + 500), (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for side, near, far in (("buy", low, high), ("sell", high, low)):
        up = "STOP_DIRECTION_STOP_UP" if side == "buy" else "STOP_DIRECTION_STOP_DOWN"
        other = client.market_order_sell if side == "buy" else client.market_order_buy
        other(client_order_id=new_id(), product_id=BIP, base_size="30" if side == "buy" else "90")  # for the brackets
        terms = {
            "market_order": {"base_size": "2"},
            "limit_order_ioc": {"base_size": "1", "limit_price": near},
            "limit_order_gtc": {"base_size": "1", "limit_price": near, "post_only": True},
            "limit_order_gtd": {"base_size": "1", "limit_price": near, "end_time": end},
            "limit_order_fok": {"base_size": "1", "limit_price": near},
            "stop_limit_order_gtc": {"base_size": "1", "limit_price": far, "stop_price": far, "stop_direction": up},
            "stop_limit_order_gtd": {
                "base_size": "1", "limit_price": far, "stop_price": far, "end_time": end, "stop_direction": up,
            },
            "trigger_bracket_order_gtc": {"base_size": "1", "limit_price": near, "stop_trigger_price": far},
            "trigger_bracket_order_gtd": {
                "base_size": "1", "limit_price": near, "stop_trigger_price": far, "end_time": end,
            },
        }  # fmt: skip
        for name, words in terms.items():
            judge(client, f"preview_{name}_{side}", product_id=BIP, **words)
            judge(client, f"preview_{name}", product_id=BIP, side=side.upper(), **words)
            judge(client, f"{name}_{side}", client_order_id=new_id(), product_id=BIP, **words)
            judge(client, name, client_order_id=new_id(), product_id=BIP, side=side.upper(), **words)
        if side == "buy":  # resting brackets would refuse what closes their position
            live = client.list_orders(order_status=["OPEN"]).to_dict()["orders"]
            judge(client, "cancel_orders", [row["order_id"] for row in live])
            time.sleep(0.5)


def trade(client):
    price = int(float(client.get_product(BIP)["price"])) // 5 * 5
    configuration = {"limit_limit_gtc": {"base_size": "1", "limit_price": str(price - 500), "post_only": False}}
    judge(client, "preview_order", BIP, "BUY", configuration)
    made = judge(client, "create_order", new_id(), BIP, "BUY", configuration)
    order_id = made["success_response"]["order_id"]
    judge(client, "get_order", order_id)
    judge(client, "preview_edit_order", order_id, size="2", price=str(price - 505))
    judge(client, "edit_order", order_id, size="2", price=str(price - 505))
    judge(client, "cancel_orders", [order_id])
    every_order(client, price)
    judge(client, "list_futures_positions")
    live = judge(client, "list_orders", order_status=["OPEN"], product_ids=[BIP])["orders"]
    judge(client, "get_fills", product_ids=[BIP], limit=10)
    judge(client, "cancel_orders", [row["order_id"] for row in live])
    judge(client, "market_order_buy", client_order_id=new_id(), product_id=BIP, base_size="7")
    time.sleep(0.5)
    judge(client, "list_orders", order_status=["OPEN"])
    judge(client, "get_futures_position", BIP)
    judge(client, "close_position", new_id(), BIP)
    judge(client, "list_futures_positions")


def retired(client):
    mine = str(uuid.uuid4())
    judge(client, "allocate_portfolio", mine, "BTC-PERP-INTX", "1", "USDC")
    for name in ("get_perps_portfolio_summary", "list_perps_positions", "get_perps_portfolio_balances"):
        judge(client, name, mine)
    judge(client, "get_perps_position", mine, "BTC-PERP-INTX")
    judge(client, "opt_in_or_out_multi_asset_collateral", mine, False)


def sockets(client):
    """Every channel over both hosts: the kinds of message that came."""
    for host in ("advanced_trade_ws", "advanced_trade_ws_user"):
        heard = []
        socket = WSClient(key_file=READY["key_file"], base_url=READY[host], on_message=heard.append, retry=False)
        socket.open()
        for name in ("candles", "market_trades", "status", "ticker", "ticker_batch", "level2", "user"):
            getattr(socket, name)(product_ids=[BIP])
        socket.heartbeats()
        socket.futures_balance_summary()
        client.market_order_buy(client_order_id=new_id(), product_id=BIP, base_size="1")
        time.sleep(4)
        socket.unsubscribe_all()
        time.sleep(0.5)
        socket.close()
        messages = [json.loads(one) for one in heard]
        VERDICTS[f"feed of {host}"] = {
            "ok": True,
            "channels": sorted({one.get("channel", "error") for one in messages}),
            "unbroken": [one["sequence_num"] for one in messages] == list(range(len(messages))),
            "orders": [
                row["status"]
                for one in messages
                if one.get("channel") == "user"
                for event in one["events"]
                for row in event["orders"]
            ],
        }


def main():
    client = RESTClient(key_file=READY["key_file"], base_url=HOST, rate_limit_headers=True)
    reads(client)
    trade(client)
    retired(client)
    sockets(client)
    every = {name for name, _ in inspect.getmembers(RESTClient, inspect.isfunction) if not name.startswith("_")}
    VERDICTS["methods not called"] = {"ok": True, "names": sorted(every - CALLED - ELSEWHERE)}
    json.dump(VERDICTS, sys.stdout, default=str)


main()
