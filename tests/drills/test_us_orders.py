"""The bot's orders where no dead-man switch takes them along and nothing is reduce-only: over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Cli, tell
from tests.drills.running import Running, running

pytestmark = [
    pytest.mark.drill,
    pytest.mark.timeout(120),
    pytest.mark.parametrize("paper", ["us"], indirect=True),
]
STILL = ("--strategy", "tests.drills.still:Still")


def orders_at(cli: Cli) -> list[dict[str, Any]]:
    return list(cli("orders", "-o", "json").json["orders"])


def wait_for_places(bot: Running, count: int) -> list[dict[str, Any]]:
    return list(bot.until(lambda: (placed := bot.events("place"))[count - 1 :] and placed, 20))


def test_an_entry_is_renewed_before_its_end_and_never_stands_beside_its_successor(
    paper: dict[str, Any], cli: Cli
) -> None:
    with running(*STILL, level="aggressive") as bot:
        wait_for_places(bot, 1)
        first = bot.until(lambda: orders_at(cli))
        assert "ENDS IN" in cli("orders").out
        tell(f"{paper['control']}/advance", seconds=80)
        wait_for_places(bot, 2)
        second = bot.until(lambda: [one for one in orders_at(cli) if one["order_id"] != first[0]["order_id"]])
        assert len(orders_at(cli)) == 1
        assert (second[0]["size"], second[0]["price"]) == (first[0]["size"], first[0]["price"])
        assert second[0]["ends_at"] > first[0]["ends_at"]
        assert second[0]["client_order_id"] != first[0]["client_order_id"]
        assert bot.stop() == 0
    assert orders_at(cli) == []
