"""`perpctl run` from a shell: it trades, is looked at, is stopped in each way, and comes back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.store.lease import LEASE_S, Lease
from tests import trading
from tests.conftest import Cli, both_venues, tell
from tests.drills.running import Running, running
from tests.risk.world import WORLDS

BTC = "BTC_USDC-PERPETUAL"
pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]


def orders_at(cli: Cli) -> list[dict[str, Any]]:
    return list(cli("orders", "-o", "json").json["orders"])


def get_filled(bot: Running, paper: dict[str, Any]) -> dict[str, Any]:
    """Move the market through the bot's bid until it holds something that is covered."""
    bids = bot.until(lambda: [line["price"] for line in bot.events("place") if line["side"] == "BUY"])
    trading.move(paper, Decimal(bids[0]) - 30)
    bot.until(lambda: bot.events("fill"))
    return dict(bot.until(lambda: (held := bot.position())["stop"] and held))


@both_venues
def test_ctrl_c_leaves_no_entry_keeps_the_stop_and_says_so(paper: dict[str, Any], cli: Cli) -> None:
    with running() as bot:
        held = get_filled(bot, paper)
        assert bot.stop() == 0
        end = bot.events("stopped")[0]
    assert end["entries_proven_gone"] is True
    assert end["kept"][0]["position"] == held["position"]
    left = orders_at(cli)
    assert [order["order_id"] for order in left] == [end["kept"][0]["stop_order_id"]]


def test_a_position_is_covered_within_five_seconds_by_a_stop_over_http(paper: dict[str, Any]) -> None:
    with running() as bot:
        get_filled(bot, paper)
        stop = bot.events("stop")[0]
        fill = bot.events("fill")[0]
    assert stop["side"] == "SELL"
    assert stop["at"] >= fill["at"]
    seconds = _seconds(stop["at"]) - _seconds(fill["at"])
    assert 0 <= seconds < 5


def _seconds(at: str) -> float:
    hours, minutes, seconds = at[11:-1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_flatten_closes_what_is_held_and_takes_the_stop_back(paper: dict[str, Any], cli: Cli) -> None:
    with running("--flatten") as bot:
        get_filled(bot, paper)
        assert bot.stop(signal.SIGTERM) == 0
        assert bot.events("stopped")[0]["kept"] == []
    assert cli("positions", "-o", "json").json["positions"] == []
    assert orders_at(cli) == []


def test_leave_orders_leaves_them(paper: dict[str, Any], cli: Cli) -> None:
    with running("--leave-orders") as bot:
        bot.until(lambda: len(bot.events("place")) >= 2)
        assert bot.stop() == 0
    assert len(orders_at(cli)) >= 1


@both_venues
def test_a_killed_bot_leaves_no_entry_its_socket_takes_them_along_or_they_end_by_themselves(
    paper: dict[str, Any], cli: Cli
) -> None:
    with running() as bot:
        get_filled(bot, paper)
        bot.process.kill()
        bot.process.wait()
    if (ends_s := WORLDS[paper["venue"]].terms.entries_end_s) is not None:
        tell(f"{paper['control']}/advance", seconds=ends_s)
    left = orders_at(cli)
    assert [order["reduce_only"] for order in left] == [True]


def test_a_second_bot_is_refused_before_the_journal_of_the_first_is_opened(perpctl: Cli) -> None:
    state = profile.load("paper").state_dir
    state.mkdir(parents=True, exist_ok=True)
    (state / "journal.db").write_text("no journal: whoever opens it ends with 11")
    held = Lease.take(state / "lease", "another")
    over = threading.Event()
    renewing = threading.Thread(target=lambda: [held.renew() for _ in iter(lambda: over.wait(0.5), True)])
    renewing.start()
    second = perpctl("run", "--risk-level", "conservative")
    over.set()
    renewing.join()
    assert second.code == 10, second.err
    assert f"pid {os.getpid()}" in second.err


def test_a_second_bot_is_refused_and_told_who_holds_the_lease(paper: dict[str, Any], perpctl: Cli) -> None:
    with running() as bot:
        second = perpctl("run", "--risk-level", "conservative")
        assert second.code == 10
        assert f"pid {bot.process.pid}" in second.err


def test_an_opening_that_outlasts_the_lease_does_not_lose_it(paper: dict[str, Any]) -> None:
    """Reads that come late, as beside an unknown order that must be settled first."""
    slow = {"kind": "delay", "method": "private/get_positions", "seconds": 4.0, "count": 3}
    trading.control(paper, "/fault", slow)
    began = time.monotonic()
    with running() as bot:
        bot.until(lambda: bot.events("place"), 30)
        assert time.monotonic() - began > LEASE_S
        assert bot.http("GET", "/api/mode")[1]["mode"] == "normal"


@both_venues
def test_the_runbooks_curl_is_answered_when_the_entries_are_gone(paper: dict[str, Any], cli: Cli) -> None:
    with running() as bot:
        held = get_filled(bot, paper)
        status, answer = bot.mode("reduce_only")
        assert status == 200, answer
        assert answer["mode"] == "reduce_only"
        left = orders_at(cli)
        assert [order["order_id"] for order in left] == [held["stop"]["order_id"]]
        assert bot.http("GET", "/ready")[0] == 503


def test_the_mode_survives_a_restart(paper: dict[str, Any]) -> None:
    with running() as bot:
        assert bot.mode("reduce_only")[0] == 200
        bot.process.kill()
    with running() as bot:
        assert bot.http("GET", "/api/mode")[1]["mode"] == "reduce_only"
        assert bot.events("place") == []


def test_a_latch_written_by_another_process_is_noticed_within_a_second(paper: dict[str, Any], perpctl: Cli) -> None:
    with running() as bot:
        bot.until(lambda: bot.events("place"))
        assert perpctl("disable", "--reason", "test").code == 0
        bot.until(lambda: bot.http("GET", "/api/mode")[1]["mode"] == "halted", 1.5)
        placed = len(bot.events("place"))
        tell(f"{paper['control']}/advance", seconds=5)
        assert len(bot.events("place")) == placed


def test_raising_needs_the_token_and_a_reason_and_never_leaves_a_halt(paper: dict[str, Any]) -> None:
    with running() as bot:
        token = {"authorization": f"Bearer {bot.card['token']}"}
        assert bot.mode("reduce_only")[0] == 200
        assert bot.mode("normal")[0] == 401
        assert bot.mode("normal", **token)[0] == 400
        body = json.dumps({"mode": "normal", "who": "pat", "reason": "checked"}).encode()
        assert bot.http("POST", "/api/mode", body, **token)[1]["mode"] == "normal"
        assert bot.mode("halted")[0] == 200
        assert bot.http("POST", "/api/mode", body, **token)[0] == 409


def test_the_service_takes_no_nonsense(paper: dict[str, Any]) -> None:
    with running() as bot:
        post = {"method": "POST", "path": "/api/mode"}
        assert bot.http(**post, body=b"not json")[0] == 400
        assert bot.http(**post, body=b"[1]")[0] == 400
        assert bot.http(**post, body=b'{"mode": "off"}')[0] == 400
        assert bot.http(**post, body=b"[" * 1000)[0] == 400
        assert bot.http(**post, body=b'{"mode": "' + b"x" * 70_000 + b'"}')[0] == 413
        assert bot.mode("reduce_only", Host="evil.example")[0] == 421
        assert bot.mode("reduce_only", Origin="http://evil.example")[0] == 403
        assert bot.http("GET", "/api/mode")[1]["mode"] == "normal"
        with contextlib.suppress(ConnectionError):
            assert bot.http("GET", "/health", host="::1")[0] in (200, 503)


def test_health_names_every_component_and_metrics_are_prometheus(paper: dict[str, Any], cli: Cli) -> None:
    with running() as bot:
        bot.until(lambda: bot.http("GET", "/health")[0] == 200)
        assert cli("health").code == 0
        text = bot.http("GET", "/metrics")[1]
        assert 'perpctl_mode{mode="normal"} 1.0' in text
        assert oct((bot.directory / "local_api.json").stat().st_mode & 0o777) == "0o600"
    assert cli("health").code == 1


def test_a_taken_port_makes_paper_choose_another_and_say_so(paper: dict[str, Any]) -> None:
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", 8080)), running() as bot:
        assert not bot.card["url"].endswith(":8080")
        assert bot.until(lambda: bot.events("started"))[0]["local_api"] == bot.card["url"]


def test_a_fence_stops_everything_at_once(paper: dict[str, Any]) -> None:
    with running() as bot:
        bot.until(lambda: bot.events("place"))
        answer = bot.control(do="fence", kill_id="k-1", reason="test")
        assert (answer["ok"], answer["fenced"], answer["pid"]) == (True, True, bot.process.pid)
        bot.process.wait(timeout=10)
        end = bot.events("stopped")[0]
    assert end["fenced_by"] == "k-1"
    assert end["entries_proven_gone"] is None


def test_the_control_socket_answers_each_word_and_no_other(paper: dict[str, Any]) -> None:
    with running() as bot:
        bot.until(lambda: len(bot.events("place")) >= 2)
        assert bot.control(do="status")["products"][0]["product_id"] == BTC
        assert bot.control(do="mode")["mode"] == "normal"
        assert bot.control(do="mass_cancel")["ok"] is True
        assert bot.control(do="dance")["ok"] is False
        assert bot.control(do="stop", flatten=False)["stopping"] is True
        assert bot.process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--mode", "live"), 2, "profile paper is paper"),
        (("--risk-level", "wild"), 2, "no risk level 'wild'"),
        (("--risk-level", "conservative", "--symbols", "BTC-PERB"), 2, "BTC-PERP"),
        (("--risk-level", "conservative", "--strategy", "nonsense"), 2, "quoter, trend"),
        (("--risk-level", "conservative", "--duration", "-1"), 2, "not above 0"),
        (("--risk-level", "conservative", "--feed", "synthetic"), 10, "runs already"),
        (("--risk-level", "conservative", "--speed", "max"), 2, "no end"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    paper: dict[str, Any], perpctl: Cli, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = perpctl("run", *words)
    assert (ran.code, said in ran.err) == (code, True), ran.err


def test_a_run_that_starts_the_exchange_ends_it_too(perpctl: Cli) -> None:
    ran = perpctl("run", "--risk-level", "conservative", "--duration", "1", "--seed", "3", "--speed", "5")
    assert ran.code == 0, ran.err
    command = [sys.executable, "-c", "from perpctl import profile; print(profile.load('paper').endpoints_file)"]
    card = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    ends = time.monotonic() + 5
    while card.exists():
        assert time.monotonic() < ends, f"{card} is still there"
        time.sleep(0.05)
