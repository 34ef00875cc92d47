"""What operators do at the desk, through the command line on the exchange: pin, protect, shrink, close, come back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import to_ms
from perpctl.emergency.pending import Record
from perpctl.paper.keys import KeyRing
from perpctl.store.journal import JournalReader
from perpctl.store.latch import Latch, LatchState, Mode
from tests import trading
from tests.commands import scenes
from tests.commands.stage import BTC, ETH, SOL, Stage
from tests.conftest import START, Cli, Ran

SURE = ("--yes", "--reason", "drill")


def sizes(stage: Stage) -> dict[str, Decimal]:
    """What the venue holds of us, slots included, as the venue itself says."""
    rows = stage.call("private/get_positions", currency="any", kind="future", include_isolated=True)
    return {row["instrument_name"]: Decimal(str(row["size_currency"])) for row in rows if row["size_currency"]}


def standing(stage: Stage) -> list[dict[str, Any]]:
    """What rests at the venue, slots and triggers included."""
    rows: list[dict[str, Any]] = stage.call("private/get_open_orders", type="all", include_isolated=True)
    return rows


def slot_of(cli: Cli, product: str) -> str:
    rows = cli("positions", "-o", "json").json["positions"]
    return str(next(row["slot"] for row in rows if row["product_id"] == product))


# --- shrinking and closing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "left"),
    [
        (["--by", "50%"], "0.175"),
        (["--by", "0.1"], "0.25"),
        (["--by", "0.1 BTC"], "0.25"),
        (["--to", "0.05"], "0.05"),
        (["--to", "0"], "0"),
        (["--by", "100%"], "0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else value,
)
def test_a_position_shrinks_by_what_was_said_and_no_more(stage: Stage, cli: Cli, how: list[str], left: str) -> None:
    scenes.held(stage, cli)
    ran = cli("positions", "reduce", "BTC-PERP", *how, *SURE)
    assert ran.code == 0, ran.out
    assert sizes(stage).get(BTC, Decimal(0)) == Decimal(left)
    assert sizes(stage)[ETH] == -6
    stops = [row for row in standing(stage) if row["instrument_name"] == BTC]
    assert len(stops) == (0 if left == "0" else 1)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (["--by", "0.1 ETH"], "BTC-PERP is sized in BTC, not in ETH"),
        (["--by", "12 contracts"], "BTC-PERP is sized in BTC at this venue, not in contracts"),
        (["--by", "200%"], "no percentage"),
        (["--by", "50% BTC"], "no size"),
        (["--by", "0"], "reduces nothing"),
        (["--by", "1"], "does not shrink a position of 0.35"),
        (["--to", "0.5"], "does not shrink a position of 0.35"),
        (["--by", "0.01%"], "less than the smallest order, 0.0001 BTC"),
        (["--by", "0.00001"], "sized in steps of 0.0001 BTC: at least 0.0001"),
        (["--by", "0.10005"], "sized in steps of 0.0001 BTC: 0.1000 or 0.1001"),
        (["--to", "0.00005"], "sized in steps of 0.0001 BTC: 0 or 0.0001"),
        (["--by", "half"], "no size in base coin"),
        (["--by", "10%", "--to", "0.1"], "say either --by"),
        ([], "say either --by"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_an_amount_that_makes_no_sense_sends_nothing(stage: Stage, cli: Cli, how: list[str], told: str) -> None:
    scenes.held(stage, cli)
    before = sizes(stage)
    ran = cli("positions", "reduce", "BTC-PERP", *how, *SURE)
    assert (ran.code, sizes(stage)) == (2, before)
    assert told in ran.err
    assert "Next:  perpctl positions" in ran.err


def test_a_wrong_unit_is_wrong_also_when_nothing_is_held(stage: Stage, cli: Cli) -> None:
    ran = cli("positions", "reduce", "BTC-PERP", "--by", "0.1 ETH", *SURE)
    assert ran.code == 2
    assert "BTC-PERP is sized in BTC, not in ETH" in ran.err


def test_one_slot_is_closed_and_the_others_stay(stage: Stage, cli: Cli) -> None:
    scenes.bare(stage, cli)
    slot = slot_of(cli, SOL)
    assert cli("positions", "close", "SOL-PERP", "--slot", "7", *SURE).code == 0
    assert sizes(stage)[SOL] == 40
    ran = cli("positions", "close", "SOL-PERP", "--slot", slot, *SURE)
    assert ran.code == 0, ran.out
    assert sizes(stage) == {BTC: Decimal("0.35"), ETH: -6}


def test_a_bound_on_slippage_leaves_the_rest_and_says_so(stage: Stage, cli: Cli) -> None:
    scenes.at_the_desk(lambda desk: trading.place(desk, size="5"))
    ran = cli("positions", "close", "BTC-PERP", "--max-slippage", "0.001%", *SURE, "-o", "json")
    left = sizes(stage)[BTC]
    assert ran.code == 6
    assert 0 < left < 5
    (step,) = [one for one in ran.json["steps"] if one["key"] == "close"]
    assert step["facts"]["left"] == [{"product_id": BTC, "slot": None, "size": f"{left:f}"}]
    assert "the slippage allowed was not enough" in step["left"][0]
    assert "--market" in ran.json["error"]["next"][0]


def test_a_bound_and_market_exclude_each_other(stage: Stage, cli: Cli) -> None:
    ran = cli("positions", "close-all", "--market", "--max-slippage", "0.3%", *SURE)
    assert ran.code == 2
    assert "--market has no bound" in ran.err
    assert cli("positions", "close-all", "--max-slippage", "0.3", *SURE).code == 2


# --- orders and stops -------------------------------------------------------------------------------------------------


def test_stops_are_placed_at_the_venue_and_a_second_time_nothing(stage: Stage, cli: Cli) -> None:
    scenes.bare(stage, cli)
    slot = slot_of(cli, SOL)
    ran = cli("stops", "place", "SOL-PERP", "--slot", slot, *SURE)
    assert ran.code == 0, ran.out
    (stop,) = [row for row in standing(stage) if row["instrument_name"] == SOL]
    assert (stop["order_type"], stop["direction"], stop["reduce_only"]) == ("stop_market", "sell", True)
    assert (Decimal(str(stop["amount"])), stop["trigger"]) == (40, "mark_price")
    assert cli("stops", "verify").code == 0
    again = cli("stops", "place", *SURE, "-o", "json")
    assert (again.code, again.json["steps"][0]["result"]) == (0, "nothing_to_do")
    assert len(standing(stage)) == 4


def test_with_the_stops_taken_too_every_bare_position_is_named(stage: Stage, cli: Cli) -> None:
    scenes.held(stage, cli)
    ran = cli("cancel-all", "--include-stops", *SURE, "-o", "json")
    assert (ran.code, standing(stage)) == (0, [])
    assert ran.json["steps"][0]["left"] == [f"{BTC} +0.3500 has no stop now", f"{ETH} -6 has no stop now"]
    assert cli("stops", "verify").code == 1


def test_every_path_knows_in_the_journal_what_its_first_stroke_took(stage: Stage, cli: Cli) -> None:
    scenes.held(stage, cli)
    scenes.at_the_desk(lambda desk: trading.entry(desk, size="0.02"))
    ran = cli("cancel-all", "--force", "-o", "json")
    assert ran.code == 0
    assert len(ran.json["steps"][0]["facts"]["cancelled"]) == 1
    assert cli("reconcile").code == 0


def test_the_story_of_an_order_runs_from_its_intent_to_its_end(stage: Stage, cli: Cli) -> None:
    scenes.protected(stage, cli)
    (stop,) = [row for row in standing(stage) if row["instrument_name"] == SOL]
    assert cli("cancel-all", "--include-stops", *SURE).code == 0
    for word in (stop["order_id"], stop["label"]):
        story = cli("orders", "trace", word, "-o", "json").json
        kinds = [one["kind"] for one in story["records"]]
        assert kinds == ["order.intended", "order.sent", "order.confirmed", "cancel.intended", "cancel.confirmed"]
        assert [(one["order_id"], one["status"]) for one in story["at_venue"]] == [(stop["order_id"], "cancelled")]


# --- coming back ------------------------------------------------------------------------------------------------------


def resume(cli: Cli, *words: str) -> Ran:
    return cli("resume", *(words or ("--as", "ops1", *SURE)), "-o", "json")


def latch() -> LatchState:
    return Latch(profile.load("paper").state_dir / "latch").read()


def test_a_halt_is_left_by_a_named_human_with_a_reason_and_limits_grow_back(stage: Stage, cli: Cli) -> None:
    scenes.halted(stage, cli)
    ran = resume(cli, "--as", "ops1", "--yes", "--reason", "venue is well again")
    assert ran.code == 0, ran.out
    state = latch()
    assert (state.mode, state.who, state.why, state.cause) == (Mode.NORMAL, "ops1", "venue is well again", "resume")
    assert to_ms(START) <= state.at_ms <= to_ms(START) + 120_000  # the ramp counts from here
    journal = JournalReader.open_read(profile.load("paper").state_dir / "journal.db")
    with journal:
        changed = [one.body for one in journal.records() if one.kind.value == "mode.changed"]
    assert (changed[-1]["from"], changed[-1]["to"], changed[-1]["who"]) == ("halted", "normal", "ops1")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--yes", "--reason", "drill"), "takes the name of a human"),
        (("--as", "ops1", "--yes"), "needs a reason"),
        (("--as", "ops1", "--reason", "drill"), "no terminal to ask at"),
    ],
)
def test_nobody_comes_back_without_name_reason_and_confirmation(
    stage: Stage, cli: Cli, words: tuple[str, ...], told: str
) -> None:
    scenes.halted(stage, cli)
    ran = resume(cli, *words)
    assert (ran.code, latch().mode) == (5, Mode.HALTED)
    assert told in ran.json["error"]["message"]
    assert ran.json["error"]["next"]


def refused(stage: Stage, cli: Cli, told: str, cure: str) -> None:
    ran = resume(cli)
    assert (ran.code, latch().mode) == (5, Mode.HALTED), ran.out
    assert told in ran.json["error"]["message"]
    assert any(cure in command for command in ran.json["error"]["next"])


def test_a_pending_kill_keeps_the_halt(stage: Stage, cli: Cli) -> None:
    scenes.halted(stage, cli)
    Record(profile.load("paper").state_dir, "K-1", None).write("started", kill_id="K-1", pid=1, started="0", terms={})
    refused(stage, cli, "kill K-1 is pending", "perpctl kill -p paper --status")


def test_books_that_were_not_compared_keep_the_halt(stage: Stage, cli: Cli) -> None:
    assert cli("disable", "--reason", "drill").code == 0
    refused(stage, cli, "not reconciled within 5 min", "reconcile --apply")


def test_the_trigger_file_keeps_the_halt(stage: Stage, cli: Cli) -> None:
    scenes.halted(stage, cli)
    file = profile.load("paper").trading_disabled_file
    file.touch()
    refused(stage, cli, f"{file} exists", f"rm {file}")


def test_a_red_preflight_keeps_the_halt(stage: Stage, cli: Cli) -> None:
    scenes.halted_bare(stage, cli)
    refused(stage, cli, "NO STOP AT THE VENUE", "stops place")


def test_a_silent_venue_keeps_the_halt(stage: Stage, cli: Cli) -> None:
    scenes.halted(stage, cli)
    stage.tell("/fault", kind="outage")
    ran = resume(cli)
    assert (ran.code, latch().mode) == (5, Mode.HALTED)
    assert "the venue gives no answer" in ran.json["error"]["message"]


def test_past_the_days_reduce_line_it_is_reduce_only_and_no_further(stage: Stage, cli: Cli) -> None:
    scenes.halted(stage, cli)
    scenes.at_the_desk(lambda desk: desk.projections().set_baseline("2026-11-25", Decimal(200_000), "USDC"))
    stage.tell("/advance", seconds=5 * 3600, quiet=True)  # the next risk day, which began with twice the money
    scenes.booked(cli)
    ran = resume(cli)
    assert (ran.code, latch().mode) == (6, Mode.REDUCE_ONLY), ran.out
    assert "at or past the reduce line" in ran.out


# --- whose account ----------------------------------------------------------------------------------------------------


@pytest.fixture
def live(stage: Stage, tmp_path: Path) -> Path:
    """A live profile at the exchange, with its key, and no account pinned."""
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    card = stage.card
    config.write_text(
        f"""
[profiles.desk-a]
env = "live"
venue = "global"
risk_level = "conservative"
kill_scope = "account"
key_file = "{card["key_file"]}"

[profiles.desk-a.endpoints]
http = "{card["gateway_http"]}"
ws = "{card["gateway_ws"]}"
streams = "{card["gateway_streams"]}"
"""
    )
    return config


def test_an_account_is_pinned_to_what_the_key_reaches(live: Path, cli: Cli) -> None:
    before = live.read_text()
    assert cli("whoami", "-p", "desk-a", "-o", "json").json["account"]["pin"] == "not pinned"
    assert cli("account", "pin", "-p", "desk-a").code == 5  # it asks, and there is no terminal
    assert live.read_text() == before
    ran = cli("account", "pin", "-p", "desk-a", *SURE)
    assert ran.code == 0, ran.out
    assert live.read_text().startswith(before.rstrip())
    shown = cli("whoami", "-p", "desk-a", "-o", "json").json
    assert (shown["env"], shown["account"]["pin"], shown["account"]["id"]) == ("live", "pinned", "1")
    again = cli("account", "pin", "-p", "desk-a", *SURE, "-o", "json")
    assert (again.code, again.json["steps"][0]["result"]) == (0, "nothing_to_do")


def test_a_key_of_another_account_pins_nothing_and_answers_nothing(
    live: Path, stage: Stage, cli: Cli, tmp_path: Path
) -> None:
    assert cli("account", "pin", "-p", "desk-a", *SURE).code == 0
    other = tmp_path / "other.json"
    KeyRing(Path(stage.card["state_dir"])).create("es256", other, ("view", "trade"), 2, START)
    text = live.read_text()
    live.write_text(text.replace(text.split('key_file = "')[1].split('"')[0], str(other)))
    ran = cli("account", "pin", "-p", "desk-a", *SURE)
    assert ran.code == 5
    assert "is pinned to account 1, and its key reaches 2" in ran.err
    assert 'id = "2"' not in live.read_text()
    for words in (["positions"], ["orders", "list"], ["verify", "no-orders"], ["whoami"], ["account"]):
        differs = cli(*words, "-p", "desk-a", "-o", "json")
        assert differs.code == 3
        assert "pinned is 1" in differs.json["error"]["message"]
    assert cli("preflight", "-p", "desk-a").code == 3
