"""The queue before the engine, over real HTTP."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.paper.server.exchange import BTC, running

ORDER = {"instrument_name": BTC, "amount": 0.01, "price": 50_000, "post_only": False}


def test_what_waits_is_purged_by_a_mass_cancel_and_a_ninth_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "venue") as exchange:
        exchange.auth()
        exchange.control("fault", kind="delay", method="private/buy", count=100, seconds=6)

        def buy(_: int) -> int:
            answer = exchange.post("private/buy", ORDER).json()
            return int(answer["error"]["code"]) if "error" in answer else 0

        with ThreadPoolExecutor(9) as pool:
            calls = [pool.submit(buy, number) for number in range(9)]
            while not any(call.done() for call in calls):  # the ninth to arrive is refused at once
                time.sleep(0.05)
            assert exchange.rpc("private/cancel_all") == 0
            codes = sorted(call.result() for call in calls)
        assert codes == [10047] + [13666] * 8
        assert exchange.rpc("private/get_open_orders") == []
