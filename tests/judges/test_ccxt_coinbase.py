"""ccxt's Coinbase class works against the US face over TLS: markets, market data, orders, positions, fills."""

from __future__ import annotations

from typing import Any

from tests.judges.conftest import Judge

CCXT = "ccxt==4.5.90"


def test_ccxt_reads_trades_and_closes(tls_paper: dict[str, Any], judged: Judge) -> None:
    verdicts = judged(CCXT, "ccxt_coinbase.py", tls_paper)
    for name, one in verdicts.items():
        assert one["ok"], f"{name}: {one}"
    result = {name: one["result"] for name, one in verdicts.items()}
    assert result["markets"]["BIP-20DEC30-CDE"] == "BTC/USD:USD"
    assert result["market"] == ["swap", 0.01, 5.0, True]  # known for a perpetual by its funding rate alone
    assert result["balance"]["USD"] == 25_000
    assert result["open orders"] == [result["limit"]["id"]]
    assert result["order"] == "open"
    assert result["edit"]["success"] is True
    assert result["filled"] == ["closed", 4.0]
    assert result["positions"] == [["BIP-20DEC30-CDE", "long", 4.0]]
    assert result["my trades"] == [["buy", 4.0]]
    assert result["closed"] == []
    assert result["none left"] == []
