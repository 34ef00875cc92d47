"""Drives the US face with ccxt's coinbase class. Runs where perpctl is not installed; prints verdicts as JSON."""

import json
import sys
import time
from pathlib import Path

import ccxt

READY = json.loads(sys.argv[1])
KEY = json.loads(Path(READY["key_file"]).read_text())
BIP = "BIP-20DEC30-CDE"
VERDICTS = {}


def judge(name, call):
    try:
        VERDICTS[name] = {"ok": True, "result": call()}
    except ccxt.BaseError as no:
        VERDICTS[name] = {"ok": False, "message": f"{type(no).__name__}: {no}"}
    return VERDICTS[name].get("result")


def main():
    secret = {"apiKey": KEY.get("name") or KEY["id"], "secret": KEY["privateKey"]}
    client = ccxt.coinbase({**secret, "enableRateLimit": False, "requests_trust_env": True})
    client.urls["api"]["rest"] = READY["advanced_trade_rest"].split("/api/")[0]
    client.load_markets()
    judge("markets", lambda: {one["id"]: one["symbol"] for one in client.fetch_markets()})
    symbol = client.markets_by_id[BIP][0]["symbol"]
    market = client.market(symbol)
    judge("market", lambda: [market["type"], market["contractSize"], market["precision"]["price"], market["active"]])
    ticker = judge("ticker", lambda: client.fetch_ticker(symbol))
    judge("order book", lambda: client.fetch_order_book(symbol, 5)["bids"][0])
    judge("candles", lambda: client.fetch_ohlcv(symbol, "1m", limit=5))
    judge("trades", lambda: len(client.fetch_trades(symbol, limit=5)))
    judge("balance", lambda: client.fetch_balance({"v3": True})["total"])
    low = int(ticker["last"] * 0.995) // 5 * 5
    order = judge("limit", lambda: client.create_order(symbol, "limit", "buy", 2, low, {"postOnly": True}))
    judge("open orders", lambda: [one["id"] for one in client.fetch_open_orders(symbol)])
    judge("order", lambda: client.fetch_order(order["id"], symbol)["status"])
    judge("edit", lambda: client.edit_order(order["id"], symbol, "limit", "buy", 3, low - 5)["info"])
    judge("cancel", lambda: client.cancel_order(order["id"], symbol)["id"])
    taken = judge("market order", lambda: client.create_order(symbol, "market", "buy", 4))
    time.sleep(0.3)
    judge("filled", lambda: [client.fetch_order(taken["id"], symbol)[name] for name in ("status", "filled")])
    held = lambda one: (one["info"]["product_id"], one["side"], one["contracts"])  # noqa: E731
    judge("positions", lambda: [held(one) for one in client.fetch_positions(None, {"productType": "FUTURE"})])
    judge("position", lambda: held(client.fetch_position(symbol, {"productType": "FUTURE"})))
    judge("my trades", lambda: [(one["side"], one["amount"]) for one in client.fetch_my_trades(symbol)])
    judge("close", lambda: client.close_position(symbol, None, {"clientOrderId": "ccxt-close"})["info"])
    judge("closed", lambda: client.fetch_positions(None, {"productType": "FUTURE"}))
    judge("none left", lambda: client.fetch_open_orders(symbol))
    json.dump(VERDICTS, sys.stdout, default=str)


main()
