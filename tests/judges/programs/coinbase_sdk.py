"""Drives the paper exchange with Coinbase's own SDK. Runs where perpctl is not installed; prints verdicts as JSON."""

import json
import re
import sys
import threading
import time

from coinbase.deribit import DeribitRetailClient, DeribitRetailWSClient, DeribitRPCError

READY = json.loads(sys.argv[1])
HOST = READY["gateway_http"].split("//")[1].split("/")[0]
BTC = "BTC_USDC-PERPETUAL"
NOW = int(time.time() * 1000)
DAY = 86_400_000
VERDICTS = {}


def judge(name, call):
    """Keep what a call answered, or the error that the SDK raised."""
    try:
        answer = call()
        shown = answer.to_dict() if hasattr(answer, "to_dict") else answer
        VERDICTS[name] = {"ok": True, "result": shown.get("result") if isinstance(shown, dict) else shown}
        return VERDICTS[name]["result"]
    except DeribitRPCError as no:
        VERDICTS[name] = {"ok": False, "code": no.code, "message": no.message}
    except Exception as wrong:  # noqa: BLE001  whatever the SDK raises is the verdict
        VERDICTS[name] = {"ok": False, "code": None, "message": f"{type(wrong).__name__}: {wrong}"}
    return None


def public(client, on):
    window = {"start_timestamp": NOW - DAY, "end_timestamp": NOW}
    judge(f"{on} test", client.public_test)
    judge(f"{on} get_time", client.public_get_time)
    judge(f"{on} status", client.public_status)
    judge(f"{on} get_instruments", lambda: client.public_get_instruments("USDC", kind="future"))
    judge(f"{on} get_instrument", lambda: client.public_get_instrument(BTC))
    judge(f"{on} get_currencies", client.public_get_currencies)
    judge(f"{on} ticker", lambda: client.public_ticker(BTC))
    judge(f"{on} get_order_book", lambda: client.public_get_order_book(BTC, depth=5))
    judge(f"{on} get_last_trades", lambda: client.public_get_last_trades_by_instrument(BTC, count=5))
    judge(
        f"{on} get_last_trades_and_time",
        lambda: client.public_get_last_trades_by_instrument_and_time(BTC, NOW - DAY, NOW + DAY, count=5),
    )
    judge(f"{on} get_index_price", lambda: client.public_get_index_price("btc_usdc"))
    judge(f"{on} funding_history", lambda: client.public_get_funding_rate_history(BTC, **window))
    judge(f"{on} funding_value", lambda: client.public_get_funding_rate_value(BTC, **window))
    judge(f"{on} get_announcements", client.public_get_announcements)


def private(client, on):
    price = float(client.public_ticker(BTC).to_dict()["result"]["mark_price"])
    low, high = round(price * 0.995, 1), round(price * 1.005, 1)
    resting = {"type": "limit", "post_only": True, "amount": 0.01}
    order = judge(f"{on} buy", lambda: client.private_buy(BTC, price=low, label=f"j-{on}", **resting))
    order_id = order["order"]["order_id"]
    judge(f"{on} edit", lambda: client.private_edit(order_id, amount=0.02, price=low, post_only=True))
    judge(
        f"{on} edit_by_label",
        lambda: client.private_edit_by_label(BTC, label=f"j-{on}", amount=0.01, price=low, post_only=True),
    )
    judge(f"{on} get_open_orders", lambda: client.private_get_open_orders(include_isolated=True))
    judge(f"{on} open_by_currency", lambda: client.private_get_open_orders_by_currency("USDC"))
    judge(f"{on} open_by_instrument", lambda: client.private_get_open_orders_by_instrument(BTC))
    judge(f"{on} open_by_label", lambda: client.private_get_open_orders_by_label("USDC", label=f"j-{on}"))
    judge(f"{on} get_order_state", lambda: client.private_get_order_state(order_id))
    judge(f"{on} state_by_label", lambda: client.private_get_order_state_by_label("USDC", f"j-{on}"))
    judge(f"{on} cancel", lambda: client.private_cancel(order_id))
    judge(f"{on} cancel again", lambda: client.private_cancel(order_id))
    judge(f"{on} sell", lambda: client.private_sell(BTC, price=high, label=f"s-{on}", **resting))
    judge(f"{on} cancel_by_label", lambda: client.private_cancel_by_label(f"s-{on}", currency="USDC"))
    taken = judge(f"{on} buy market", lambda: client.private_buy(BTC, amount=0.02, type="market", post_only=False))
    stop = {"type": "stop_market", "trigger": "mark_price", "reduce_only": True, "post_only": False}
    judge(f"{on} stop", lambda: client.private_sell(BTC, amount=0.02, trigger_price=low, **stop))
    judge(f"{on} get_positions", lambda: client.private_get_positions(currency="USDC", include_isolated=True))
    judge(f"{on} get_position", lambda: client.private_get_position(BTC))
    judge(f"{on} get_margins", lambda: client.private_get_margins(BTC, 0.1, price))
    judge(f"{on} set_leverage", lambda: client.private_set_leverage(BTC, 10))
    judge(f"{on} get_leverage", client.private_get_leverage)
    judge(f"{on} account_summary", lambda: client.private_get_account_summary("USDC", extended=True))
    judge(f"{on} account_summaries", lambda: client.private_get_account_summaries(extended=True))
    judge(f"{on} close_position", lambda: client.private_close_position(BTC, "market"))
    judge(f"{on} close nothing", lambda: client.private_close_position(BTC, "market"))
    history(client, on, taken["order"]["order_id"])
    for name in ("cancel_all_by_currency", "cancel_all_by_instrument"):
        client.private_buy(BTC, price=low, **resting)
        scope = "USDC" if name.endswith("currency") else BTC
        judge(
            f"{on} {name}",
            lambda name=name, scope=scope: getattr(client, f"private_{name}")(scope, include_isolated=True),
        )
    client.private_buy(BTC, price=low, **resting)
    judge(f"{on} cancel_all", lambda: client.private_cancel_all(include_isolated=True))
    judge(f"{on} off tick", lambda: client.private_buy(BTC, price=low + 0.05, **resting))
    judge(f"{on} too large", lambda: client.private_buy(BTC, amount=100000, type="market", post_only=False))


def history(client, on, order_id):
    window = {"start_timestamp": NOW - DAY, "end_timestamp": NOW + DAY}
    time.sleep(0.3)
    judge(
        f"{on} history_by_instrument",
        lambda: client.private_get_order_history_by_instrument(BTC, include_unfilled=True),
    )
    judge(
        f"{on} history_by_currency", lambda: client.private_get_order_history_by_currency("USDC", include_unfilled=True)
    )
    judge(f"{on} trigger_history", lambda: client.private_get_trigger_order_history("USDC"))
    judge(f"{on} trades_by_instrument", lambda: client.private_get_user_trades_by_instrument(BTC, count=10))
    judge(
        f"{on} trades_by_instrument_time", lambda: client.private_get_user_trades_by_instrument_and_time(BTC, **window)
    )
    judge(f"{on} trades_by_currency", lambda: client.private_get_user_trades_by_currency("USDC"))
    judge(
        f"{on} trades_by_currency_time", lambda: client.private_get_user_trades_by_currency_and_time("USDC", **window)
    )
    judge(f"{on} trades_by_order", lambda: client.private_get_user_trades_by_order(order_id))
    judge(f"{on} transaction_log", lambda: client.private_get_transaction_log("USDC", **window))
    judge(f"{on} settlements_by_instrument", lambda: client.private_get_settlement_history_by_instrument(BTC))
    judge(f"{on} settlements_by_currency", lambda: client.private_get_settlement_history_by_currency("USDC"))
    judge(f"{on} user_locks", client.private_get_user_locks)
    judge(f"{on} trading_limits", lambda: client.private_get_trading_limits("USDC"))
    judge(f"{on} subaccounts", lambda: client.private_get_subaccounts(include_isolated=True))


WINDOW = {"start_timestamp": NOW - DAY, "end_timestamp": NOW}
THE_REST = {
    "public_get_book_summary_by_currency": (("USDC",), {}),
    "public_get_book_summary_by_instrument": ((BTC,), {}),
    "public_get_contract_size": ((BTC,), {}),
    "public_get_delivery_prices": (("btc_usdc",), {}),
    "public_get_expirations": (("any", "any"), {}),
    "public_get_funding_chart_data": ((BTC, "8h"), {}),
    "public_get_index_chart_data": (("btc_usdc", "1d"), {}),
    "public_get_index_price_names": ((), {"extended": True}),
    "public_get_last_trades_by_currency": (("USDC",), {"count": 3}),
    "public_get_last_trades_by_currency_and_time": (("USDC", NOW - DAY, NOW), {}),
    "public_get_mark_price_history": ((BTC, NOW - DAY, NOW), {}),
    "public_get_order_book_by_instrument_id": ((211704,), {"depth": 5}),
    "public_get_supported_index_names": ((), {}),
    "public_get_trade_volumes": ((), {}),
    "public_tickers_by_currency": (("USDC",), {}),
    "private_cancel_all_by_currency_pair": (("btc_usdc",), {}),
    "private_cancel_all_by_kind_or_type": (("USDC",), {"kind": "future", "type": "limit"}),
    "private_change_margin_model": (("cross_sm",), {"dry_run": True}),
    "private_get_max_order_size": ((BTC,), {}),
    "private_get_order_margin_by_ids": (([],), {}),
    "private_get_pme_params": (("USDC",), {}),
    "private_get_risk_profile": ((), {}),
    "private_get_subaccounts_details": (("USDC",), {"with_open_orders": True}),
}
LACKING = {  # of the venue's, and not of this exchange: 10033
    "public_get_combo_details": (("X",), {}),
    "public_get_combo_ids": (("USDC",), {}),
    "public_get_combos": (("USDC",), {}),
    "public_get_historical_volatility": (("USDC",), {}),
    "public_get_last_settlements_by_currency": (("USDC",), {}),
    "public_get_last_settlements_by_instrument": ((BTC,), {}),
    "public_get_volatility_index_data": (("USDC", NOW - DAY, NOW, "60"), {}),
    "private_create_combo": (([{"instrument_name": BTC, "amount": 1, "direction": "buy"}],), {}),
    "private_get_broker_trade_requests": ((), {}),
    "private_get_broker_trades": ((), {}),
    "private_get_leg_prices": (([{"instrument_name": BTC, "amount": 1, "direction": "buy"}], 1), {}),
    "private_pme_simulate": (("USDC",), {}),
    "private_simulate_portfolio": (("USDC",), {}),
}
ELSEWHERE = {"public_auth"}  # done by the SDK itself, before its first private call


def the_rest(client, on):
    """What the parts above leave out, and what nothing calls at all."""
    for name, (words, options) in THE_REST.items():
        judge(f"{on} {name}", lambda name=name, w=words, o=options: getattr(client, name)(*w, **o))
    for name, (words, options) in LACKING.items():
        judge(f"{on} lacking {name}", lambda name=name, w=words, o=options: getattr(client, name)(*w, **o))
    judge(
        f"{on} transfer without permission",
        lambda: client.private_submit_transfer_between_subaccounts("USDC", 1, 900001),
    )
    with open(__file__) as own:
        text = own.read()
    named = set(re.findall(r"(?:public|private)_[a-z_]+", text)) | {
        f"private_{name}" for name in ("cancel_all_by_currency", "cancel_all_by_instrument")
    }
    offered = {name for name in dir(client) if name.startswith(("public_", "private_"))}
    VERDICTS[f"uncovered {on}"] = sorted(offered - named - ELSEWHERE)


def socket_only(client):
    judge("ws hello", lambda: client.public_hello("judge", "1"))
    judge("ws set_heartbeat", lambda: client.public_set_heartbeat(10))
    judge("ws disable_heartbeat", client.public_disable_heartbeat)
    judge("ws cod on", lambda: client.private_enable_cancel_on_disconnect(scope="connection"))
    judge("ws cod read", lambda: client.private_get_cancel_on_disconnect(scope="connection"))
    judge("ws cod off", lambda: client.private_disable_cancel_on_disconnect(scope="connection"))
    judge("ws access_log", client.private_get_access_log)
    judge("ws chart", lambda: client.public_get_tradingview_chart_data(BTC, NOW - DAY, NOW + DAY, "1"))


def heard(client, channels, poke):
    """Subscribe, do something, and count what each channel said within two seconds."""
    said = dict.fromkeys(channels, 0)
    done = threading.Event()

    def listen(data, channel):
        said[channel] = said.get(channel, 0) + 1
        if all(said.values()):
            done.set()

    client.subscribe(channels, listen)
    poke()
    done.wait(5)
    return said


def main():
    rest = DeribitRetailClient(key_file=READY["key_file"], base_url=HOST)
    public(rest, "http")
    private(rest, "http")
    the_rest(rest, "http")
    with DeribitRetailWSClient(key_file=READY["key_file"], url=READY["gateway_ws"]) as socket:
        public(socket, "ws")
        time.sleep(2)
        private(socket, "ws")
        the_rest(socket, "ws")
        socket_only(socket)
        user = ["user.changes.any.any.raw", "user.trades.future.USDC.raw", "user.orders.future.USDC.raw"]
        VERDICTS["user channels"] = heard(
            socket, user, lambda: rest.private_buy(BTC, amount=0.01, type="market", post_only=False)
        )
        rest.private_close_position(BTC, "market")
        judge("ws logout", socket.private_logout)
    with DeribitRetailWSClient(url=READY["gateway_streams"], api_key=None, api_secret=None) as streams:
        channels = [f"{kind}.{BTC}.100ms" for kind in ("ticker", "book", "trades")] + [f"quote.{BTC}"]
        VERDICTS["streams"] = heard(streams, channels, lambda: None)
    json.dump(VERDICTS, sys.stdout)


main()
