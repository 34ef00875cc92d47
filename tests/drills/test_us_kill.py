"""Kill at the US venue, as a process against a paper exchange as a process, judged by the exchange's own books."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from perpctl.model.mode import Mode
from perpctl.store.latch import Latch
from tests.drills.killing import wait_until
from tests.drills.us_killing import BIP, ETP, SLP, UsDesk, us_desk

pytestmark = pytest.mark.drill
HURRIED = {"foreground_s": 6, "hold_s": 1, "hold_unproven_s": 3}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[UsDesk]:
    with us_desk(tmp_path) as desk:
        yield desk


def hold_three_positions(desk: UsDesk) -> None:
    trader = desk.trader()
    trader.market("BUY", BIP, 10)
    trader.market("SELL", ETP, 8)
    trader.market("BUY", SLP, 3)


def test_flat_and_proven_with_the_bot_dead(desk: UsDesk) -> None:
    trader = desk.trader()
    trader.market("BUY", BIP, 10)
    entry = trader.bid_below(BIP, 1)
    stop = trader.stop("SELL", BIP, 10, "3")
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.is_flat
    assert done.receipt["verdict"] == "PROVEN FLAT"
    assert [trader.status(one) for one in (entry, stop)] == ["CANCELLED", "CANCELLED"]
    assert Latch(desk.directory / "latch").read().mode is Mode.HALTED
    closed = done.receipt["closed"][0]
    assert (closed["product"], Decimal(closed["size"])) == (BIP, Decimal("0.1"))


def test_a_hundred_orders_and_three_positions(desk: UsDesk) -> None:
    hold_three_positions(desk)
    trader = desk.trader()
    for index in range(97):
        trader.bid_below(BIP, 1, percent=str(Decimal("0.5") + Decimal(index) / 100))
    trader.stop("SELL", BIP, 10, "3")
    trader.stop("BUY", ETP, 8, "3")
    trader.stop("BUY", SLP, 1, "2")  # on the opening side: an entry
    assert desk.account["open_orders"] == 100
    began = time.monotonic()
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.is_flat
    assert len(done.receipt["closed"]) == 3
    assert time.monotonic() - began < 25


def test_a_living_bot_is_fenced_first(desk: UsDesk) -> None:
    trader = desk.trader()
    trader.market("BUY", BIP, 4)
    take = "from pathlib import Path; from perpctl.store.lease import Lease; import sys, time\n"
    take += "Lease.take(Path(sys.argv[1]), 'quoter-1'); print('held', flush=True); time.sleep(60)"
    program = [sys.executable, "-c", take, str(desk.directory / "lease")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as bot:
        assert bot.stdout is not None
        assert bot.stdout.readline() == "held\n"
        done = desk.kill()
        assert done.code == 0, done.talk
        assert bot.wait(timeout=5) == -signal.SIGKILL
    assert "SIGKILL" in done.step("fence")["evidence"]
    assert desk.is_flat


def test_neither_the_configuration_nor_the_journal_is_needed(desk: UsDesk) -> None:
    desk.trader().market("BUY", BIP, 4)
    shutil.rmtree(desk.config, ignore_errors=True)
    desk.config.write_text("not even a directory")
    with sqlite3.connect(desk.directory / "journal.db", isolation_level=None) as journal:
        journal.execute("create table held (one)")
        journal.execute("begin exclusive")
        done = desk.kill()
        journal.execute("rollback")
    journal.close()
    assert done.code == 0, done.talk
    assert desk.is_flat


def test_a_venue_that_is_down_is_unknown_and_pending_and_finished_when_it_comes_back(desk: UsDesk) -> None:
    desk.validate(kill=HURRIED)
    desk.trader().market("BUY", BIP, 4)
    desk.exchange.fault(kind="outage")
    done = desk.kill()
    assert done.code == 3
    assert done.receipt["pending"] is True
    assert desk.kill("-p", "paper", "--status").code == 3
    assert desk.account["positions"]
    desk.exchange.heal()
    wait_until(lambda: not desk.account["positions"], 12)
    wait_until(lambda: desk.worker() is None, 20)
    assert desk.is_flat
    assert desk.kill("-p", "paper", "--status").code == 0


def test_an_interrupted_kill_is_taken_up_by_finish(desk: UsDesk) -> None:
    desk.validate(kill=HURRIED)
    desk.trader().market("BUY", BIP, 4)
    desk.exchange.fault(kind="outage")
    assert desk.kill().code == 3
    desk.end_workers()
    desk.exchange.heal()
    desk.validate()
    done = desk.kill("-p", "paper", "--finish")
    assert done.code == 0, done.talk
    assert desk.is_flat


def test_a_closed_session_is_pending_with_the_stop_in_place_and_finished_when_it_opens(desk: UsDesk) -> None:
    trader = desk.trader()
    trader.market("BUY", BIP, 4)
    trader.bid_below(BIP, 1)
    trader.stop("SELL", BIP, 4, "3")
    desk.exchange.control("plan-stop", "POST", in_s=0, for_s=75)
    began = time.monotonic()
    done = desk.kill()
    assert done.code == 6, done.talk
    assert done.receipt["pending"]
    assert time.monotonic() - began < 15, "nobody watches a closed session"
    assert any("session closed" in note for note in done.receipt["notes"])
    assert len(done.receipt["left"]["stops"]) == 1
    assert desk.worker() is not None
    desk.exchange.control("advance", "POST", seconds=76)
    wait_until(lambda: desk.is_flat, 40)


def test_a_refused_rest_puts_the_stop_back(desk: UsDesk) -> None:
    desk.validate(kill=HURRIED)
    trader = desk.trader()
    trader.market("BUY", BIP, 4)
    first = trader.stop("SELL", BIP, 4, "3")
    process = desk.start("--force", "-p", "paper", "-o", "json")
    wait_until(lambda: Decimal(str(desk.account["positions"].get(BIP, 0))) == Decimal("0.03"), 10)
    no = '{"success":false,"error_response":{"error":"COMMANDER_REJECTED_NEW_ORDER"}}'
    desk.exchange.fault(
        kind="http_status", method="POST /api/v3/brokerage/orders/close_position", count=None, status=200, body=no
    )
    out, talk = process.communicate(timeout=40)
    assert process.returncode == 6, talk + out
    assert trader.status(first) == "CANCELLED"
    (stop,) = [row for row in trader.listed(order_status="OPEN") if row["product_id"] == BIP]
    assert stop["order_configuration"]["stop_limit_stop_limit_gtc"]["base_size"] == "3"
    desk.exchange.heal()
    wait_until(lambda: desk.is_flat, 15)


def test_two_kills_at_once_are_one(desk: UsDesk) -> None:
    hold_three_positions(desk)
    one, other = desk.start("--force", "-p", "paper"), desk.start("--force", "-p", "paper")
    said = [process.communicate(timeout=60) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert desk.is_flat
    assert len(list((desk.directory / "receipts").glob("*.json"))) == 1
    assert sum("attached to" in talk for _, talk in said) == 1


def test_two_hosts_that_kill_at_once_never_turn_a_position(desk: UsDesk, tmp_path: Path) -> None:
    """Two state directories know nothing of each other: what keeps them apart is the identity of each close."""
    hold_three_positions(desk)
    elsewhere = UsDesk(tmp_path / "elsewhere", tmp_path / "other-config", desk.exchange)
    patient = {"foreground_s": 120, "hold_s": 1, "hold_unproven_s": 3}  # whoever closed nothing needs a minute of reads
    for host in (desk, elsewhere):
        host.validate(kill=patient)
    processes = [host.start("--force", "-p", "paper", "-o", "json") for host in (desk, elsewhere)]
    signs = {BIP: {1}, ETP: {-1}, SLP: {1}}
    end = time.monotonic() + 150
    while time.monotonic() < end and any(process.poll() is None for process in processes):
        for product, size in desk.account["positions"].items():
            signs[product].add(1 if Decimal(str(size)) > 0 else -1)
        time.sleep(0.02)
    said = [process.communicate() for process in processes]
    elsewhere.end_workers()
    assert [process.returncode for process in processes] == [0, 0], said
    assert signs == {BIP: {1}, ETP: {-1}, SLP: {1}}
    assert desk.is_flat


def test_another_portfolio_than_the_pinned_one_is_never_called_flat(desk: UsDesk) -> None:
    desk.trader().market("BUY", BIP, 4)
    desk.validate(account={"id": "11111111-1111-4111-8111-111111111111", "username": None}, kill=HURRIED)
    done = desk.kill()
    assert done.code == 3
    assert done.receipt["account"]["pinned"] == "differs"
    assert desk.account["positions"], "nothing may be sent to an account that is not the pinned one"


def test_a_dry_run_changes_nothing(desk: UsDesk) -> None:
    hold_three_positions(desk)
    trader = desk.trader()
    trader.bid_below(BIP, 1)
    trader.stop("SELL", BIP, 10, "3")
    before = (desk.account["open_orders"], desk.account["positions"])
    files = sorted(desk.root.rglob("*"))
    done = desk.kill("--dry-run", "-p", "paper")
    assert done.code == 0, done.talk
    assert (desk.account["open_orders"], desk.account["positions"]) == before
    assert sorted(desk.root.rglob("*")) == files
    assert {(row["product"], row["contracts"]) for row in done.receipt["closes"]} == {
        (BIP, "10"),
        (ETP, "8"),
        (SLP, "3"),
    }
    assert done.receipt["currency"] == "USD"


def test_a_close_whose_answer_is_lost_is_told_of_in_full(desk: UsDesk) -> None:
    desk.trader().market("BUY", BIP, 4)
    desk.exchange.fault(kind="drop_after", method="POST /api/v3/brokerage/orders/close_position", count=2)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.is_flat
    assert (done.receipt["closed"][0]["contracts"], done.receipt["closed"][0]["size"]) == ("4", "0.04")


def test_a_frozen_market_data_page_does_not_keep_a_position(desk: UsDesk) -> None:
    """Without a book there is nothing to size from: the ladder's last step needs none."""
    desk.trader().market("BUY", BIP, 4)
    desk.exchange.fault(kind="http_status", method="GET /api/v3/brokerage/product_book", count=None, status=503)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.is_flat
