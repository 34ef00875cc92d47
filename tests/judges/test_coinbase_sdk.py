"""Coinbase's own SDK works against the paper exchange over TLS: HTTP, private socket and public streams."""

from __future__ import annotations

from typing import Any

from tests.judges.conftest import Judge

SDK = "coinbase-advanced-py==2.0.0rc1"
EXPECTED_REFUSALS = {
    "cancel again": {11044, 10004},
    "close nothing": {10010, 11094, 10043, 10002, 11044},
    "off tick": {10043},
    "transfer without permission": {13021},
    "too large": {10009, 10021, 11030, 10018},
}


def test_every_method_of_the_sdk_that_the_exchange_offers_is_answered(tls_paper: dict[str, Any], judged: Judge) -> None:
    verdicts = judged(SDK, "coinbase_sdk.py", tls_paper)
    calls = {name: one for name, one in verdicts.items() if isinstance(one, dict) and isinstance(one.get("ok"), bool)}
    assert len(calls) > 170
    assert (verdicts["uncovered http"], verdicts["uncovered ws"]) == ([], [])
    for name, one in calls.items():
        if " lacking " in name:
            assert one.get("code") == 10033, f"{name}: {one}"
            continue
        refusal = next((codes for words, codes in EXPECTED_REFUSALS.items() if name.endswith(words)), None)
        if refusal is None:
            assert one["ok"], f"{name}: {one}"
        else:
            assert one.get("code") in refusal, f"{name}: {one}"
    assert all(verdicts["user channels"].values()), verdicts["user channels"]
    assert all(verdicts["streams"].values()), verdicts["streams"]
