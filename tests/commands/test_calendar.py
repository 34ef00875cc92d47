"""`perpctl calendar` on the running paper exchange: what it says, in which forms, and when the venue is down."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perpctl.model.order import OrderRequest, OrderType, Side, TimeInForce
from perpctl.model.venue.calendars import US
from perpctl.profile import load
from perpctl.questions.venue import calendar
from tests import trading
from tests.commands.stage import Stage
from tests.conftest import Cli, us_alone

Golden = Callable[[str, str], None]


def test_it_shows_the_next_of_each_kind_and_our_ages(paper: dict[str, Any], cli: Cli, golden: Golden) -> None:
    ran = cli("calendar")
    assert ran.code == 0, ran.err
    head, upcoming, believed = ran.out.split("\n\n")
    title, *rows = upcoming.splitlines()
    ages = ["  key KEY" if line.startswith("key ") else line for line in believed.splitlines()]
    shown = "\n".join([head, "", title, *sorted(trading.masked(row) for row in rows), "", *ages])
    golden("calendar.txt", trading.masked(shown) + "\n")


def test_json_holds_the_same_in_order(paper: dict[str, Any], cli: Cli, golden: Golden) -> None:
    told = cli("calendar", "-o", "json").json
    at = [datetime.fromisoformat(one["start_at"]) for one in told["upcoming"]]
    assert at == sorted(at)
    now = datetime.fromisoformat(told["market_time"])
    assert all(
        int(one["in_s"]) == int((when - now).total_seconds()) for one, when in zip(told["upcoming"], at, strict=True)
    )
    for one in told["upcoming"]:
        one |= {"start_at": "AT", "end_at": "AT", "in_s": "N"}
    for one in told["ages"]:
        one |= {"age_s": "N" if one["age_s"] is not None else None}
        if one["fact"] == "key":
            one |= {"words": "KEY", "verdict": "KEY"}
    told["upcoming"].sort(key=lambda one: one["key"])
    for name in ("at", "market_time", "age_s"):
        told[name] = "N"
    golden("calendar.json", json.dumps(told, indent=1) + "\n")


@us_alone
def test_money_that_is_to_leave_is_seen_where_an_operator_plans(stage: Stage, cli: Cli) -> None:
    words = "sweep of 5,000.00 USD from futures to spot, pending: equity falls by it"
    assert "sweep" not in cli("market", "status").out + cli("calendar").out + cli("margin").out
    stage.sweep("5000")
    status, ahead, used = (
        " ".join(cli(*typed).out.split()) for typed in (("market", "status"), ("calendar",), ("margin",))
    )
    assert f"planned Wed 25 Nov 22:00 UTC, in 18 h 47 m: {words}" in status
    assert f"Wed 25 Nov 22:00 Wed 17:00 18 h 47 m {words}" in ahead
    assert f"LEAVES Wed 25 Nov 22:00 UTC: {words}" in used
    for ran, kept in ((cli("market", "status", "-o", "json"), "planned"), (cli("margin", "-o", "json"), "leaving")):
        (found,) = [one for one in ran.json[kept] if one["kind"] == "money"]
        assert (found["what"], found["start_at"]) == (words, "2026-11-25T22:00:00+00:00")


def test_settlement_is_always_at_eight_utc(paper: dict[str, Any], cli: Cli) -> None:
    told = cli("calendar", "--days", "3", "-o", "jsonl").out.splitlines()
    settlements = [one for one in map(json.loads, told) if one["key"] == "settlement"]
    assert len(settlements) == 3
    assert all(one["start_at"].endswith("T08:00:00+00:00") for one in settlements)


def test_csv_has_a_row_for_each(paper: dict[str, Any], cli: Cli) -> None:
    head, *rows = cli("calendar", "--days", "1", "-o", "csv").out.splitlines()
    assert head.startswith("env,venue,profile,account,at,key,kind,what,start_at")
    assert {row.split(",")[5] for row in rows} >= {"settlement", "morning", "evening", "risk_day"}


def test_what_the_venue_announces_is_shown_and_planned_for(paper: dict[str, Any], cli: Cli) -> None:
    trading.control(paper, "/announce", {"title": "Release on Tuesday, 09:00 UTC", "body": "15 to 30 minutes"})
    assert "NOTICE  Release on Tuesday, 09:00 UTC" in cli("calendar").out
    (release,) = [one for one in cli("calendar", "-o", "json").json["upcoming"] if one["key"] == "release"]
    starts, ends = (datetime.fromisoformat(release[name]) for name in ("start_at", "end_at"))
    assert (release["announced"], release["only_if_announced"]) == (True, False)
    assert (starts.weekday(), f"{starts:%H:%M}", ends - starts) == (1, "09:00", timedelta(minutes=30))
    assert [one["key"] for one in cli("market", "status", "-o", "json").json["planned"]] == ["release"]
    assert "announced: Release on Tuesday, 09:00 UTC" in cli("market", "status").out


def test_a_release_that_is_about_to_begin_keeps_entries_off(paper: dict[str, Any], cli: Cli) -> None:
    soon = datetime.fromisoformat(cli("calendar", "-o", "json").json["market_time"]) + timedelta(minutes=8)
    title = f"Maintenance, {soon:%d %B %Y} at {soon:%H:%M} UTC, 20 minutes"
    trading.control(paper, "/announce", {"title": title, "body": ""})
    told = cli("calendar", "-o", "json").json
    assert told["entries_pause"] is True
    back = datetime.fromisoformat(told["entries_back_at"])
    assert back == soon.replace(second=0, microsecond=0) + timedelta(minutes=21)
    assert f"NO NEW ENTRIES before {back:%a %d %b %H:%M} UTC: announced: Maintenance" in cli("calendar").out


async def test_good_til_day_orders_are_said_to_end(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        exchange = await desk.exchange()
        quote = await exchange.quote(trading.BTC)
        assert quote.mark is not None
        price = (quote.mark * 99 / 100).quantize(quote.mark.__class__("0.1"))
        size = quote.mark.__class__("0.01")
        day = TimeInForce.DAY
        await exchange.place(
            OrderRequest(trading.our_name(desk), trading.BTC, Side.BUY, size, OrderType.LIMIT, price, day)
        )
        answer = await calendar.upcoming(None)(desk)
        assert answer.facts["good_til_day_orders"] == 1


def test_a_venue_that_is_down_is_exit_3_and_our_own_clock_is_said(paper: dict[str, Any], cli: Cli) -> None:
    assert cli("paper", "fault", "outage", "--yes").code == 0
    ran = cli("calendar", "-o", "json")
    assert ran.code == 3
    error = ran.json["error"]
    assert error["code"] == 3
    assert "by our own clock the next is: settlement" in error["message"]
    assert cli("calendar").out == ""


@pytest.mark.parametrize("days", ["0", "-1", "400", "soon"])
def test_days_that_are_none_are_refused(paper: dict[str, Any], cli: Cli, days: str) -> None:
    assert cli("calendar", "--days", days).code == 2


def test_an_old_key_is_due(paper: dict[str, Any], cli: Cli, tmp_path: Path) -> None:
    raw = json.loads(Path(paper["key_file"]).read_text())
    for created, verdict in (
        ("2026-10-01T00:00:00Z", "ok"),
        ("2026-09-20T00:00:00.000000000Z", "WARN"),
        ("2026-08-20T00:00:00Z", "STALE"),
    ):
        backup = tmp_path / "backup.json"
        backup.write_text(json.dumps({**raw, "createTime": created}))
        backup.chmod(0o600)
        config = tmp_path / "config"
        config.mkdir(exist_ok=True)
        (config / "config.toml").write_text(f'[profiles.paper]\nbackup_key_file = "{backup}"\n')
        assert load("paper").backup_key_file == backup
        told = {one["fact"]: one for one in cli("calendar", "-o", "json").json["ages"]}
        assert told["backup key"]["verdict"] == verdict
        assert told["backup"]["verdict"] == "n/a"


@pytest.mark.skipif(
    datetime.now(UTC).date() + timedelta(days=8) > US.holidays_until, reason="the holidays of that year are not known"
)
@us_alone
def test_the_us_calendar_shows_new_yorks_clock(paper: dict[str, Any], cli: Cli) -> None:
    ran = cli("calendar")
    assert ran.code == 0, ran.err
    assert "NEW YORK" in ran.out
    told = cli("calendar", "-o", "json").json
    assert told["margin_window"] in ("intraday", "overnight")
    rows = {one["key"]: one for one in told["upcoming"]}
    assert rows.keys() >= {"weekly_stop", "session_roll", "overnight_margin", "intraday_margin", "funding BTC-PERP"}
    assert rows["weekly_stop"]["announced"] is True  # the paper exchange announces it, and it is shown once
    assert [one["kind"] for one in told["upcoming"]].count("stop") == 1
    token = next(one for one in told["ages"] if one["fact"] == "token")
    assert "made for each request" in token["words"]
