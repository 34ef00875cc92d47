"""Kills and the bot: no start beside an unfinished one; what ended is journaled once, under its own name."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.desk import Desk
from perpctl.emergency import pending
from perpctl.emergency.pending import Record
from perpctl.errors import RefusedBySafety
from perpctl.model import identity
from perpctl.model.order import Order, OrderStatus, OrderType, Side
from perpctl.procedures.kills import refuse_beside_kill, remember_kills
from perpctl.store.records import Correlation, Kind

LABEL = identity.make(bytes(32), identity.KILL_EPOCH, 5)


def close() -> Order:
    size, price = Decimal("0.1"), Decimal("84000")
    return Order(
        "X-1", LABEL, "BTC_USDC-PERPETUAL", Side.SELL, OrderType.LIMIT, OrderStatus.FILLED, size, size, price, price,
        True, False, None, None, 1, 2,
    )  # fmt: skip


def write(directory: Path, *, ending: str | None = "ended", **facts: Any) -> str:
    record = Record(directory, "K-20261123-101500", None)
    record.write("started", kill_id="K-20261123-101500", pid=1, started=0, terms={"reason": "drill"})
    record.write("step", step="fence", state="proven", after_s=0.125, text="no bot")
    record.write("closed", label=LABEL, order=asdict(close()), fills=[{"trade_id": "T-1"}], after_s=0.5)
    if ending is not None:
        record.write(ending, **facts)
    return record.path.stem


@pytest.fixture
def desk(home: Path) -> Any:
    desk = Desk(profile.load("paper"), SystemClock())
    desk.journal()
    yield desk
    desk.journal().close()


def test_a_bot_is_refused_beside_an_unfinished_kill_which_is_named(desk: Desk) -> None:
    directory = desk.settings.state_dir
    refuse_beside_kill(directory)
    name = write(directory, ending=None)
    with pytest.raises(RefusedBySafety, match=name) as refused:
        refuse_beside_kill(directory)
    assert refused.value.next_commands == ("perpctl kill -p paper --status", "perpctl kill -p paper --finish")
    assert remember_kills(desk.projections(), directory) == (), "what goes on is not on record yet"


def test_a_kill_that_ended_is_journaled_once_with_its_own_orders(desk: Desk) -> None:
    directory, ours = desk.settings.state_dir, desk.projections()
    name = write(directory, receipt={"exit": 0, "after_s": 3.5})
    refuse_beside_kill(directory)
    assert remember_kills(ours, directory) == (name,)
    assert remember_kills(ours, directory) == ()
    told = list(ours.journal.records(correlation=Correlation(kill_id=name)))
    assert [line.kind for line in told] == [Kind.PLAN_STARTED, Kind.STEP_DONE, Kind.ORDER_SEEN, Kind.PLAN_ENDED]
    assert told[1].body["after_s"] == "0.125"
    (seen,) = ours.orders_of("X-1")
    assert seen.order == close()
    assert pending.trade_ids(directory) == {"T-1"}
    assert ours.journal.verify().is_whole


def test_a_kill_that_was_given_up_is_journaled_as_such(desk: Desk) -> None:
    write(desk.settings.state_dir, ending="abandoned", who="ops1", reason="by hand")
    remember_kills(desk.projections(), desk.settings.state_dir)
    (ending,) = desk.journal().records(kinds=(Kind.PLAN_ENDED,))
    assert (ending.body["event"], ending.body["reason"]) == ("abandoned", "by hand")


def test_a_line_cut_short_by_a_crash_does_not_keep_the_rest_out(desk: Desk) -> None:
    name = write(desk.settings.state_dir, receipt={"exit": 0})
    with (desk.settings.state_dir / "kills" / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps({"event": "beat"})[:-3])
    assert remember_kills(desk.projections(), desk.settings.state_dir) == (name,)
