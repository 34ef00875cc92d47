"""Stream messages as the gateway's socket sends them, for captures in tests."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

BTC, ETH = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"
AT_MS = 1_790_762_400_000
Level = tuple[float, float]


def notified(channel: str, content: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": content}}


def snapshot(at_ms: int, bids: list[Level], asks: list[Level], *, change_id: int = 100, name: str = BTC) -> Any:
    return _book(name, at_ms, [["new", *level] for level in bids], [["new", *level] for level in asks], change_id)


def change(at_ms: int, bids: list[Any], asks: list[Any], *, change_id: int, after: int, name: str = BTC) -> Any:
    made = _book(name, at_ms, bids, asks, change_id)
    made["params"]["data"] |= {"type": "change", "prev_change_id": after}
    return made


def _book(name: str, at_ms: int, bids: list[Any], asks: list[Any], change_id: int) -> Any:
    content = {
        "type": "snapshot",
        "timestamp": at_ms,
        "instrument_name": name,
        "change_id": change_id,
        "bids": bids,
        "asks": asks,
    }
    return notified(f"book.{name}.100ms", content)


def ticker(at_ms: int, mark: float, index: float, *, name: str = BTC, **members: Any) -> Any:
    content = {"timestamp": at_ms, "instrument_name": name, "mark_price": mark, "index_price": index, **members}
    return notified(f"ticker.{name}.100ms", content)


def best(bid: float, ask: float, size: float = 1.0) -> dict[str, float]:
    return {"best_bid_price": bid, "best_ask_price": ask, "best_bid_amount": size, "best_ask_amount": size}


def quote(at_ms: int, bid: float, ask: float, *, name: str = BTC) -> Any:
    return notified(f"quote.{name}", {"timestamp": at_ms, "instrument_name": name, **best(bid, ask)})


def trade(at_ms: int, direction: str, price: float, amount: float, *, name: str = BTC) -> Any:
    row = {
        "timestamp": at_ms,
        "instrument_name": name,
        "direction": direction,
        "price": price,
        "amount": amount,
        "mark_price": price,
        "index_price": price,
        "trade_seq": 1,
        "trade_id": "USDC-1",
        "tick_direction": 0,
    }
    return notified(f"trades.{name}.100ms", [row])


def written(folder: Path, *messages: Any, end: str = "\n", packed: bool = False) -> Path:
    """A capture of these messages; text stands for itself."""
    path = folder / "capture.jsonl"
    lines = [one if isinstance(one, str) else json.dumps(one) for one in messages]
    content = ("\n".join(lines) + end).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def an_hour(step_ms: int = 1_000) -> list[Any]:
    """A market that moves: a snapshot, then a change, a ticker and now and then a trade each second."""
    said: list[Any] = [snapshot(AT_MS, [(84000.0, 2.0), (83999.0, 5.0)], [(84001.0, 2.0), (84002.0, 5.0)])]
    bid, last_id = Decimal(84000), 100
    for second in range(1, 3_600_000 // step_ms):
        at_ms, up = AT_MS + second * step_ms, (second * 7919) % 13 < 7
        moved = bid + (1 if up else -1)
        rows = ([["delete", float(bid), 0]] if not up else []) + [["change", float(moved), 1.0 + second % 5]]
        asks = ([["delete", float(bid + 1), 0]] if up else []) + [["change", float(moved + 1), 2.0]]
        said.append(change(at_ms, rows, asks, change_id=last_id + 1, after=last_id))
        said.append(ticker(at_ms + 10, float(moved) + 0.5, float(moved) - 3))
        if second % 3 == 0:
            said.append(trade(at_ms + 20, "buy" if up else "sell", float(moved + 1 if up else moved), 0.25))
        bid, last_id = moved, last_id + 1
    return said


BOOK_OF = (
    snapshot(AT_MS, [(84000.0, 2.0), (83990.0, 3.0)], [(84001.0, 1.0), (84010.0, 4.0)]),
    ticker(AT_MS + 5, 84000.5, 83990.25),
)
