"""Bot and exchange in lock step: a seed says it all, the money adds up, the default limits stop what loses."""

from __future__ import annotations

import gzip
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

import pytest

from perpctl.engine import events as e
from perpctl.engine.loop import Bot
from perpctl.engine.simulation.play import Audience, Played, Script, play
from perpctl.engine.strategy import choose
from perpctl.errors import UsageError
from perpctl.model.mode import Mode
from perpctl.risk.limits import RiskLevel, level_limits, with_overrides
from perpctl.store.journal import Journal
from perpctl.store.records import Kind

WIDE = {
    "day_loss_warn_pct": "90",
    "day_loss_reduce_pct": "95",
    "day_loss_kill_pct": "99",
    "drawdown_halt_pct": "99",
    "losing_round_trips": "1000000",
    "same_side_executions": "1000000",
}
LIMITS = level_limits(RiskLevel.CONSERVATIVE)
HOUR = Script("synthetic", 7, 1800, ("BTC-PERP",), with_overrides(LIMITS, WIDE, "test"), choose("quoter"))
AT_VENUES = pytest.mark.parametrize(
    "script", [HOUR, replace(HOUR, venue="us", market_s=300)], ids=lambda script: script.venue
)
MONTH = Path(__file__).parents[2] / "../shared/data/btc-perp-1m-2022-01.csv.gz"


def played(script: Script, directory: Path) -> tuple[Bot, Played]:
    return play(script, directory)


@pytest.mark.parametrize("script", [HOUR, replace(HOUR, venue="us", market_s=60)], ids=lambda script: script.venue)
def test_two_runs_of_one_seed_write_the_same_bytes(script: Script, tmp_path: Path) -> None:
    heads = {played(script, tmp_path / name)[1].head for name in ("one", "two")}
    assert len(heads) == 1
    assert played(replace(script, seed=8), tmp_path / "other")[1].head not in heads


@AT_VENUES
def test_the_money_adds_up_in_both_books(script: Script, tmp_path: Path) -> None:
    bot, result = played(script, tmp_path / "run")
    assert result.ended.fills > 0
    assert result.is_whole
    assert result.difference is not None
    assert abs(result.difference) < D("0.005")
    assert bot.core.orders.foreign == {}


@AT_VENUES
def test_what_is_held_at_the_end_has_its_stop_and_no_entry_is_left(script: Script, tmp_path: Path) -> None:
    _, result = played(script, tmp_path / "run")
    assert result.ended.read_back is not None
    assert result.ended.read_back.proven
    assert all(kept.stop is not None for kept in result.ended.kept)


def test_a_plunge_makes_the_default_limits_stop_the_bot(tmp_path: Path) -> None:
    """A made-up crash: 1 % down a minute, with a bot that buys all the way."""
    file = tmp_path / "btc-crash.csv.gz"
    rows, price = ["start_epoch_s,open,high,low,close,volume_usd"], 50_000
    for minute in range(240):
        low = price if minute < 60 else price * 997 // 1000
        rows.append(f"{1_640_991_660 + 60 * minute},{price},{price + 5},{low - 5},{low},1000000")
        price = low
    file.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    told: list[str] = []
    script = replace(HOUR, feed=f"replay:{file}", market_s=None, limits=LIMITS)
    bot, result = play(script, tmp_path / "run", Audience(lambda bot, note: told.append(note.text)))
    assert bot.core.mode is not Mode.NORMAL, told
    assert any("gate:" in text for text in told)
    assert result.equity > D(95_000)
    assert not result.ended.kept or all(kept.stop is not None for kept in result.ended.kept)


@AT_VENUES
def test_every_send_was_intended_before_and_no_intent_was_sent_twice(script: Script, tmp_path: Path) -> None:
    bot, _ = played(script, tmp_path / "run")
    with Journal.open(tmp_path / "run/journal.db", bot.gear.projections.journal.writer, bot.gear.clock) as journal:
        intended: set[str] = set()
        sent: list[str] = []
        for record in journal.records(kinds=(Kind.ORDER_INTENDED, Kind.ORDER_SENT)):
            identity = record.correlation.intent_id
            assert identity is not None
            if record.kind is Kind.ORDER_INTENDED:
                intended.add(identity)
                decision, instrument = record.body["decision"], record.body["instrument"]
                assert decision["left_count"] <= decision["entered_count"]
                assert len(instrument["spec_hash"]) == 16
                assert {"bid_size", "ask_size", "band", "open_interest"} <= record.body["inputs"].keys()
            else:
                assert identity in intended
                sent.append(identity)
    assert len(sent) == len(set(sent)) > 10


def test_an_endless_feed_is_refused() -> None:
    with pytest.raises(UsageError, match="no end"):
        play(replace(HOUR, market_s=None), Path("/nonexistent"))


def test_the_players_may_be_told_that_it_is_enough(tmp_path: Path) -> None:
    _, result = play(replace(HOUR, market_s=86_400), tmp_path / "run", Audience(is_enough=lambda bot: True))
    assert result.ticks == 0


@pytest.mark.parametrize("name", ["quoter", "trend"])
def test_both_strategies_run_days_of_the_recorded_month(name: str, tmp_path: Path) -> None:
    if not MONTH.exists():
        pytest.skip("../shared is absent")
    script = replace(HOUR, feed=f"replay:{MONTH}", market_s=86_400, strategy=choose(name))
    notes: list[e.Note] = []
    _, result = play(script, tmp_path / "run", Audience(lambda bot, note: notes.append(note)))
    assert result.ended.fills > 0
    assert result.difference is not None
    assert abs(result.difference) < D("0.005")
    assert [one for one in notes if not one.text.startswith("level 1: settlement")] == []


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["quoter", "trend"])
def test_both_strategies_run_the_whole_month(name: str, tmp_path: Path) -> None:
    if not MONTH.exists():
        pytest.skip("../shared is absent")
    _, result = played(replace(HOUR, feed=f"replay:{MONTH}", market_s=None, strategy=choose(name)), tmp_path / "run")
    assert result.ticks > 180_000
    assert result.difference is not None
    assert abs(result.difference) < D("0.005")
