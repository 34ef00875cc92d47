"""Drives the paper exchange with ccxt. Runs where perpctl is not installed; prints verdicts as JSON."""

import json
import sys
from pathlib import Path

import ccxt

READY = json.loads(sys.argv[1])
KEY = json.loads(Path(READY["key_file"]).read_text())
SYMBOL = "BTC/USDC:USDC"
VERDICTS = {}


class Gateway(ccxt.coinbaseinternational):
    """As shipped, but that a POST without headers of its own can be signed: the release adds them to None."""

    @staticmethod
    def extend(*parts):
        return ccxt.Exchange.extend(*(part or {} for part in parts))


def judge(name, call):
    try:
        VERDICTS[name] = {"ok": True, "result": call()}
    except ccxt.BaseError as no:
        VERDICTS[name] = {"ok": False, "message": f"{type(no).__name__}: {no}"}
    return VERDICTS[name].get("result")


def main():
    secret = {"apiKey": KEY.get("name") or KEY["id"], "secret": KEY["privateKey"]}
    client = Gateway({**secret, "enableRateLimit": False, "requests_trust_env": True})
    client.urls["api"]["rest"] = READY["gateway_http"]
    judge("markets", lambda: [one["symbol"] for one in client.fetch_markets()])
    client.load_markets()
    ticker = judge("ticker", lambda: client.fetch_ticker(SYMBOL))
    judge("order book", lambda: client.fetch_order_book(SYMBOL, 5))
    judge("candles", lambda: client.fetch_ohlcv(SYMBOL, "1m", limit=5))
    judge("balance", lambda: client.fetch_balance()["total"])
    low = round(ticker["bid"] * 0.995, 1)
    order = judge("limit", lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, low, {"post_only": True}))
    judge("open orders", lambda: [one["id"] for one in client.fetch_open_orders(SYMBOL)])
    judge("order", lambda: client.fetch_order(order["id"], SYMBOL)["status"])
    judge("cancel", lambda: client.cancel_order(order["id"], SYMBOL)["status"])
    judge("market", lambda: client.create_order(SYMBOL, "market", "buy", 0.02, None, {"post_only": False}))
    held = lambda one: (one["symbol"], one["contracts"], one["side"])  # noqa: E731
    judge("positions", lambda: [held(one) for one in client.fetch_positions([SYMBOL])])
    judge("my trades", lambda: [(one["side"], one["amount"]) for one in client.fetch_my_trades(SYMBOL)])
    judge("leave", lambda: client.create_order(SYMBOL, "limit", "buy", 0.01, low, {"post_only": True})["id"])
    judge("cancel all", lambda: len(client.cancel_all_orders(SYMBOL)))
    judge("none left", lambda: client.fetch_open_orders(SYMBOL))
    json.dump(VERDICTS, sys.stdout, default=str)


main()
