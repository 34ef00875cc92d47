"""What losses call for, and that the kill waits until mark and index agree."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from perpctl.model.mode import Mode
from perpctl.risk.bounds import ramp_after
from perpctl.risk.breaches import Action, Breach, LossWatch, drawdown, mode_after_resume
from perpctl.risk.limits import RiskLevel, level_limits
from tests.risk.world import LIMITS, NOW


def run(*steps: tuple[int, str | None, str | None]) -> list[Action | None]:
    """Each step: ms after the start, day PnL in %, mark and index apart in %."""
    watch, actions = LossWatch(), []
    for at, pnl, apart in steps:
        watch, breach = watch.evaluate(NOW + at, _number(pnl), _number(apart), LIMITS)
        actions.append(breach and breach.action)
    return actions


def _number(text: str | None) -> D | None:
    return None if text is None else D(text)


@pytest.mark.parametrize(
    ("pnl", "action"),
    [
        ("0.5", None),
        ("-0.999", None),
        ("-1", Action.WARN),
        ("-1.999", Action.WARN),
        ("-2", Action.REDUCE_ONLY),
        ("-2.999", Action.REDUCE_ONLY),
        ("-3", Action.PAGE),
        (None, None),
    ],
)
def test_one_look_at_the_day(pnl: str | None, action: Action | None) -> None:
    assert run((0, pnl, "0.1")) == [action]


R, P, K = Action.REDUCE_ONLY, Action.PAGE, Action.KILL


@pytest.mark.parametrize(
    ("name", "steps", "actions"),
    [
        ("agreeing for 5 s and 3 looks", [(0, "-3"), (2500, "-3"), (5000, "-3")], [P, P, K]),
        ("only two looks in 5 s", [(0, "-3"), (5000, "-3")], [P, P]),
        ("three looks in 4.999 s", [(0, "-3"), (2000, "-3"), (4999, "-3")], [P, P, P]),
        ("back above the line between", [(0, "-3"), (2500, "-2.9"), (5000, "-3"), (7500, "-3")], [P, R, P, P]),
        ("unknown between", [(0, "-3"), (2500, None), (5000, "-3")], [P, None, P]),
        ("worse than the line from the start", [(0, "-9"), (3000, "-9"), (6000, "-9")], [P, P, K]),
    ],
)
def test_the_kill_needs_5_seconds_and_3_evaluations(
    name: str, steps: list[tuple[int, str | None]], actions: list[Action | None]
) -> None:
    assert run(*[(at, pnl, "0.1") for at, pnl in steps]) == actions


@pytest.mark.parametrize("apart", ["0.51", None, "-0.51"])
def test_with_mark_and_index_apart_it_stays_reduce_only(apart: str | None) -> None:
    assert run(*[(at, "-9", apart) for at in range(0, 60_000, 1000)]) == [P] * 60


def test_one_look_with_prices_apart_starts_the_wait_anew() -> None:
    looks = [(0, "0.1"), (3000, "0.6"), (6000, "0.1"), (8500, "0.1"), (11_000, "0.1")]
    assert run(*[(at, "-4", apart) for at, apart in looks]) == [P, P, P, P, K]


def test_a_breach_names_value_and_line() -> None:
    _, breach = LossWatch().evaluate(NOW, D("-2.5"), D(0), LIMITS)
    assert breach == Breach(Action.REDUCE_ONLY, "day PnL", D("-2.5"), D("-2.0"), "past the reduce line")


@pytest.mark.parametrize(("fall", "halts"), [("4.99", False), ("5", True), (None, False)])
def test_a_fall_from_the_peak_halts(fall: str | None, halts: bool) -> None:
    breach = drawdown(_number(fall), LIMITS)
    assert (breach is not None and breach.action is Action.HALT) is halts


@pytest.mark.parametrize(
    ("pnl", "mode"),
    [("-1.9", Mode.NORMAL), ("-2", Mode.REDUCE_ONLY), ("-8", Mode.REDUCE_ONLY), (None, Mode.REDUCE_ONLY)],
)
def test_a_resume_after_a_day_loss_leads_to_reduce_only(pnl: str | None, mode: Mode) -> None:
    assert mode_after_resume(_number(pnl), LIMITS) is mode


@pytest.mark.parametrize("level", RiskLevel)
def test_lines_stand_in_order(level: RiskLevel) -> None:
    limits = level_limits(level)
    assert (
        0 < limits.day_loss_warn_pct < limits.day_loss_reduce_pct < limits.day_loss_kill_pct < limits.drawdown_halt_pct
    )


@pytest.mark.parametrize(("minutes", "share"), [(0, "0.25"), (9.99, "0.25"), (10, "0.5"), (29.99, "0.5"), (30, "1")])
def test_the_ramp_after_a_return(minutes: float, share: str) -> None:
    assert ramp_after(int(minutes * 60_000)) == D(share)


def test_with_transfers_unread_there_is_no_kill_and_what_was_seen_so_far_does_not_count() -> None:
    watch, actions = LossWatch(), []
    for at, unread in ((0, None), (4000, None), (8000, "no answer"), (9000, None), (12_000, None), (14_000, None)):
        watch, breach = watch.evaluate(NOW + at, D(-9), D(0), LIMITS, unread=unread)
        actions.append(breach and breach.action)
    assert actions == [P, P, P, P, P, K]
    _, breach = LossWatch().evaluate(NOW, D("-2.5"), D(0), LIMITS, unread="no answer")
    assert breach is not None
    assert breach.action is Action.REDUCE_ONLY
