"""ccxt's Coinbase derivatives class works against the paper exchange over TLS."""

from __future__ import annotations

from typing import Any

from tests.judges.conftest import Judge

CCXT = "ccxt==4.5.90"


def test_ccxt_reads_trades_and_cancels(tls_paper: dict[str, Any], judged: Judge) -> None:
    verdicts = judged(CCXT, "ccxt_client.py", tls_paper)
    for name, one in verdicts.items():
        assert one["ok"], f"{name}: {one}"
    result = {name: one["result"] for name, one in verdicts.items()}
    assert "BTC/USDC:USDC" in result["markets"]
    assert result["open orders"] == [result["limit"]["id"]]
    assert result["cancel"] == "canceled"
    assert [(symbol, side) for symbol, _, side in result["positions"]] == [("BTC/USDC:USDC", "long")]
    assert result["my trades"] == [["buy", 0.02]]
    assert result["none left"] == []
