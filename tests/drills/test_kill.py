"""Kill as a process against a paper exchange as a process, judged by the exchange's own books."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import time
from decimal import Decimal
from pathlib import Path

import pytest

from perpctl.emergency.receipt import is_genuine
from perpctl.model.mode import Mode
from perpctl.store.identity_key import read_identity_key
from perpctl.store.latch import Latch, LatchState
from tests.drills.killing import BTC, ETH, SOL, Desk, wait_until

pytestmark = pytest.mark.drill


def hold_three_positions(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.market("sell", ETH, "1")
    trader.market("buy", SOL, "10", isolated=True, allocated_margin=Decimal(300))


def test_flat_and_proven_with_the_bot_dead(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.bid_below(BTC, "0.01")
    stop = trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    assert done.receipt["verdict"] == "PROVEN FLAT"
    assert trader.gateway.order(stop["order_id"], False).status == "cancelled"
    assert Latch(desk.directory / "latch").read().mode is Mode.HALTED
    closed = done.receipt["closed"][0]
    assert (closed["product"], closed["size"]) == (BTC, "0.1")
    key = read_identity_key(desk.config)
    assert key is not None
    bare = {name: value for name, value in done.receipt.items() if name != "file"}
    assert is_genuine(bare, key)
    assert not is_genuine({**bare, "exit": 6}, key)


def test_a_hundred_orders_and_three_positions_one_of_them_isolated(desk: Desk) -> None:
    hold_three_positions(desk)
    trader = desk.exchange.trader()
    for index in range(96):
        trader.bid_below(BTC, "0.001", percent=str(Decimal("0.5") + Decimal(index) / 1000))
    trader.bid_below(SOL, "1", isolated=True)
    trader.stop("buy", BTC, "0.01", "2")  # a trigger without reduce-only: an entry
    trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
    trader.stop("buy", ETH, "1", "3", reduce_only=True)
    assert desk.exchange.account["open_orders"] == 100
    began = time.monotonic()
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    assert len(done.receipt["closed"]) == 3
    assert time.monotonic() - began < 15


def test_the_configuration_deleted_does_not_matter(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    shutil.rmtree(desk.config, ignore_errors=True)
    desk.config.write_text("not even a directory")
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    assert done.receipt["hmac"] is None
    assert any("not signed" in note for note in done.receipt["notes"])


def test_a_locked_journal_does_not_matter(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    with sqlite3.connect(desk.directory / "journal.db", isolation_level=None) as journal:
        journal.execute("create table held (one)")
        journal.execute("begin exclusive")
        done = desk.kill()
        journal.execute("rollback")
    journal.close()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat


def test_a_venue_that_is_down_is_unknown_and_pending_and_finished_when_it_comes_back(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="outage")
    done = desk.kill()
    assert done.code == 3
    assert done.receipt["pending"] is True
    assert desk.kill("-p", "paper", "--status").code == 3
    assert desk.exchange.account["positions"]
    desk.exchange.heal()
    wait_until(lambda: not desk.exchange.account["positions"], 7)
    wait_until(lambda: desk.worker() is None, 15)
    assert desk.exchange.is_flat
    assert desk.kill("-p", "paper", "--status").code == 0


def test_an_interrupted_kill_is_taken_up_by_finish(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="outage")
    assert desk.kill().code == 3
    desk.end_workers()
    desk.exchange.heal()
    time.sleep(0.5)
    assert desk.exchange.account["positions"]
    done = desk.kill("-p", "paper", "--finish")
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat


def test_a_refused_key_is_unknown(desk: Desk) -> None:
    key_file = Path(desk.exchange.server["key_file"])
    stranger = desk.root / "stranger.json"
    name = key_file.read_text().replace("apiKeys/", "apiKeys/0")
    stranger.write_text(name)
    stranger.chmod(0o600)
    desk.validate(key_file=str(stranger), kill={"foreground_s": 3, "hold_s": 1, "hold_unproven_s": 1})
    done = desk.kill()
    assert done.code == 3
    assert "13004" in " ".join(done.receipt["unknown"])
    assert Latch(desk.directory / "latch").read().mode is Mode.HALTED


def test_the_backup_key_takes_over_from_a_refused_one(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    stranger = desk.root / "stranger.json"
    stranger.write_text("{}")
    desk.validate(kill_key_file=str(stranger))
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat


def test_another_account_than_the_pinned_one_is_never_called_flat(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    timing = {"foreground_s": 3, "hold_s": 1, "hold_unproven_s": 1}
    desk.validate(account={"id": "104821", "username": None}, kill=timing)
    done = desk.kill()
    assert done.code == 3
    assert done.receipt["account"]["pinned"] == "differs"
    assert desk.exchange.account["positions"], "nothing may be sent to an account that is not the pinned one"


def test_a_latch_that_cannot_be_written_says_so_and_never_exits_0(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    (desk.directory / "latch").mkdir()
    done = desk.kill()
    assert done.code == 3
    assert desk.exchange.is_flat, "the rest is done all the same"
    assert done.step("latch")["state"] == "NOT LATCHED"
    assert "NOT LATCHED" in " ".join(done.receipt["unknown"])


def test_a_disk_that_takes_no_more_stops_only_the_record(desk: Desk) -> None:
    Latch(desk.directory / "latch").write(LatchState(Mode.NORMAL, "ops1", "all well", 1, "human"))
    desk.exchange.trader().market("buy", BTC, "0.1")
    little_room = ("sh", "-c", 'ulimit -f 8; exec "$@"', "sh")  # 4096 bytes a file
    done = desk.kill("--force", "-p", "paper", "--reason", "x" * 4_000, before=little_room)
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    assert Latch(desk.directory / "latch").read().mode is Mode.HALTED
    assert done.receipt["file"].startswith("not kept")


def test_two_kills_at_once_are_one(desk: Desk) -> None:
    hold_three_positions(desk)
    one, other = desk.start("--force", "-p", "paper"), desk.start("--force", "-p", "paper")
    said = [process.communicate(timeout=40) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert desk.exchange.is_flat
    assert len(list((desk.directory / "receipts").glob("*.json"))) == 1
    assert sum("attached to" in talk for _, talk in said) == 1


def test_somebody_who_trades_on_during_the_hold_makes_it_unknown(desk: Desk) -> None:
    trader = desk.exchange.trader()
    process = desk.start("--force", "-p", "paper", "-o", "json")
    assert process.stderr is not None
    for line in process.stderr:
        if "prove    done" in line:
            trader.market("buy", BTC, "0.05")
            break
    out, _ = process.communicate(timeout=40)
    assert process.returncode == 3, out
    assert desk.exchange.is_flat, "what appeared was closed"
    assert BTC in out


def test_the_hold_lasts_as_long_as_it_says(desk: Desk) -> None:
    desk.validate(kill={"foreground_s": 10, "hold_s": 2.5, "hold_unproven_s": 5})
    done = desk.kill()
    assert done.code == 0, done.talk
    assert done.step("hold")["after_s"] - done.step("prove")["after_s"] >= 2.5


def test_a_read_error_is_never_an_empty_list(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="error", method="private/get_positions", count=None, code=11094)
    done = desk.kill()
    assert done.code == 3
    assert desk.exchange.account["positions"]
    assert done.receipt["verdict"] == "UNKNOWN"


def test_a_close_whose_answer_is_lost_is_settled_and_not_repeated(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="drop_after", method="private/sell", count=1)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    assert done.receipt["closed"][0]["size"] == "0.1", "the lost fill is on the receipt"


def test_an_expired_token_is_renewed_in_the_middle(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="expired_token", method="private/cancel_all_by_currency", count=1)
    desk.exchange.fault(kind="expired_token", method="private/sell", count=1)
    assert desk.kill().code == 0
    assert desk.exchange.is_flat


def test_a_locked_book_waits_with_the_stop_in_place(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
    desk.validate(kill={"foreground_s": 3, "hold_s": 1, "hold_unproven_s": 1})
    desk.exchange.control("state", "POST", instrument_name=BTC, state="locked")
    done = desk.kill()
    assert done.code == 6, done.talk
    assert done.receipt["pending"]
    assert len(done.receipt["left"]["stops"]) == 1
    desk.exchange.control("state", "POST", instrument_name=BTC, state="open")
    wait_until(lambda: desk.exchange.is_flat, 10)


def test_max_slippage_ends_the_ladder_and_keeps_the_stop(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
    desk.exchange.fault(kind="error", method="private/sell", count=None, code=10005, message="price_too_low")
    done = desk.kill("--force", "-p", "paper", "--max-slippage", "0.30%")
    assert done.code == 6, done.talk
    assert done.receipt["pending"] is False
    assert desk.exchange.account["positions"]
    assert desk.exchange.account["open_orders"] == 1


def test_a_lost_terminal_does_not_stop_the_kill(desk: Desk) -> None:
    hold_three_positions(desk)
    process = desk.start("--force", "-p", "paper", start_new_session=True)
    wait_until(lambda: Latch(desk.directory / "latch").read().mode is Mode.HALTED, 5)
    wait_until(lambda: desk.worker() is not None or desk.exchange.is_flat, 5)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: desk.exchange.is_flat, 10)


def test_a_frozen_bot_is_killed_and_the_venue_is_not(desk: Desk) -> None:
    import subprocess
    import sys

    take = "from pathlib import Path; from perpctl.store.lease import Lease; import sys, time\n"
    take += "Lease.take(Path(sys.argv[1]), 'quoter-1'); print('held', flush=True); time.sleep(60)"
    bot = subprocess.Popen(
        [sys.executable, "-c", take, str(desk.directory / "lease")], stdout=subprocess.PIPE, text=True
    )
    assert bot.stdout is not None
    assert bot.stdout.readline() == "held\n"
    os.kill(bot.pid, signal.SIGSTOP)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert done.step("fence")["state"] == "proven"
    assert "SIGKILL" in done.step("fence")["evidence"]
    assert bot.wait(timeout=5) == -signal.SIGKILL
    bot.stdout.close()


def test_without_a_terminal_and_without_force_nothing_is_done(desk: Desk) -> None:
    done = desk.kill("-p", "paper")
    assert done.code == 5
    assert done.receipt["error"]["not_done"] == "Nothing was latched, cancelled or closed."
    assert not (desk.directory / "latch").exists()


def test_a_dry_run_changes_nothing(desk: Desk) -> None:
    hold_three_positions(desk)
    trader = desk.exchange.trader()
    trader.bid_below(BTC, "0.01")
    before = (desk.exchange.account["open_orders"], desk.exchange.account["positions"])
    files = sorted(path for path in desk.root.rglob("*"))
    done = desk.kill("--dry-run", "-p", "paper")
    assert done.code == 0
    assert (desk.exchange.account["open_orders"], desk.exchange.account["positions"]) == before
    assert sorted(path for path in desk.root.rglob("*")) == files
    assert {row["product"] for row in done.receipt["closes"]} == {BTC, ETH, SOL}
