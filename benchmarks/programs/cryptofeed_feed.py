"""Reads the messages of a file with cryptofeed's Deribit class, message by message, as its own connection would."""

import asyncio
import json
import sys
import time
from pathlib import Path

from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import Deribit
from cryptofeed.symbols import Symbols

FRAMES = Path(sys.argv[1]).read_bytes().split(b"\n")
PAIR = "BTC-USDC-PERP"


async def told(book: object, receipt_timestamp: float) -> None:
    """Who listens."""


async def main() -> None:
    Symbols.set(Deribit.id, {PAIR: "BTC_USDC-PERPETUAL"}, {"tick_size": {}, "instrument_type": {PAIR: "perpetual"}})
    keys = {"deribit": {"key_id": "none", "key_secret": "none"}}  # asked for with every channel, used with none here
    feed = Deribit(symbols=[PAIR], channels=[L2_BOOK], callbacks={L2_BOOK: told}, config=keys)
    feed.seq_no = {}
    began = time.thread_time()
    for frame in FRAMES:
        await feed.message_handler(frame, None, 0.0)
    taken = time.thread_time() - began
    book = feed._l2_book[PAIR].book
    bid, ask = book.bids.index(0)[0], book.asks.index(0)[0]
    print(json.dumps({"us": taken / len(FRAMES) * 1e6, "bid": float(bid), "ask": float(ask)}))


asyncio.run(main())
