"""Reads the messages of a file with ccxt.pro's Deribit class, message by message, as its own reader would."""

import json
import sys
import time
from pathlib import Path

import ccxt.pro as ccxt

FRAMES = Path(sys.argv[1]).read_bytes().split(b"\n")
SYMBOL = "BTC/USDC:USDC"


class Client:
    """What a handler needs of a connection: somebody to tell."""

    def resolve(self, result: object, message_hash: str) -> object:
        return result


exchange = ccxt.deribit()
market = exchange.safe_market_structure({"id": "BTC_USDC-PERPETUAL", "symbol": SYMBOL, "type": "swap", "swap": True})
exchange.set_markets([market])
client = Client()
began = time.thread_time()
for frame in FRAMES:
    exchange.handle_message(client, json.loads(frame))
taken = time.thread_time() - began
book = exchange.orderbooks[SYMBOL]
bid, ask = book["bids"][0], book["asks"][0]
print(json.dumps({"us": taken / len(FRAMES) * 1e6, "bid": bid[0], "ask": ask[0]}))
