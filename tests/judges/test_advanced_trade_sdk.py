"""Coinbase's own SDK works against the US face over TLS, stable and next release: REST, and every channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpctl.clock import SystemClock
from perpctl.paper.keys import MAIN_ACCOUNT, KeyRing
from tests.judges.conftest import Judge

CHANNELS = [
    "candles", "futures_balance_summary", "heartbeats", "l2_data", "market_trades", "status", "subscriptions", "ticker",
    "ticker_batch", "user",
]  # fmt: skip
RETIRED = ("perps", "allocate_portfolio", "opt_in_or_out")


@pytest.mark.parametrize("release", ["1.8.4", "2.0.0rc1"])
def test_every_method_of_the_sdk_for_cfm_is_answered(
    tls_paper: dict[str, Any], judged: Judge, tmp_path: Path, release: str
) -> None:
    key = tmp_path / "full.json"
    ring = KeyRing(Path(tls_paper["state_dir"]))
    ring.create("es256", key, ("view", "trade", "transfer"), MAIN_ACCOUNT, SystemClock().now())
    verdicts = judged(f"coinbase-advanced-py=={release}", "advanced_trade_sdk.py", tls_paper | {"key_file": str(key)})
    assert verdicts.pop("methods not called")["names"] == []
    for host in ("advanced_trade_ws", "advanced_trade_ws_user"):
        feed = verdicts.pop(f"feed of {host}")
        assert feed["channels"] == CHANNELS
        assert feed["unbroken"]
        assert feed["orders"][-1] == "FILLED"
    assert len(verdicts) > 100
    for name, one in verdicts.items():
        if any(word in name for word in RETIRED):
            assert "404" in one["message"], f"{name}: {one}"
            continue
        assert one["ok"], f"{name}: {one}"
        refused = one["result"].get("success") is False or bool(one["result"].get("errs"))
        assert refused == ("limit_order_ioc" in name), f"{name}: {one}"  # an IOC limit is what CFM refuses
    assert verdicts["get_futures_position"]["result"]["position"]["side"] in ("LONG", "SHORT")
    assert verdicts["list_futures_positions 2"]["result"]["positions"] == []
