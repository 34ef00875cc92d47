"""What a real journal holds years later: a row for each fact that cannot be had afterwards, read from real runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import perpctl
from perpctl import profile
from perpctl.host.build import hash_of_code
from perpctl.store.facts.heads import false_heads
from perpctl.store.identity_key import load_identity_key
from perpctl.store.journal import JournalReader
from perpctl.store.records import Kind
from tests.conftest import both_venues
from tests.drills.written import FROM, REASON, story

pytestmark = [pytest.mark.drill, pytest.mark.timeout(180), both_venues]
HEX = hashlib.sha256().digest_size * 2
Line = dict[str, Any]

INTENT, SENT = (Kind.ORDER_INTENDED,), (Kind.ORDER_SENT,)
ANSWERS = (Kind.ORDER_CONFIRMED, Kind.CANCEL_CONFIRMED)
STATES = (Kind.ORDER_SEEN, Kind.ORDER_CONFIRMED)
PLAN = (Kind.PLAN_STARTED,)
LINES = (Kind.CONNECTION_OPENED, Kind.CONNECTION_CLOSED)


@dataclass(frozen=True)
class Field:
    """One fact: on every record of these kinds (none: of any kind) there is a value, or null with its reason.

    At least one record has the value, unless `absent` is a reason that may stand on all of them, at that venue.
    """

    kinds: tuple[Kind, ...]
    path: str  # members divided by dots; `*` stands for every member of a list
    absent: str = ""
    at: str = ""  # only at this venue may it be absent everywhere; empty: at both


def each(kinds: tuple[Kind, ...], under: str, names: str) -> list[Field]:
    """A row for each name."""
    return [Field(kinds, f"{under}{name}") for name in names.split()]


ANY: tuple[Kind, ...] = ()
UNEXPLAINED = (None, "not at hand")
NO_TIMES = "this venue tells no times of its own but the Date header"

FIELDS = (
    # on every line: which place in the chain, when by which clocks, whose money, whose process, which code and limits
    *each(ANY, "", "seq chain schema at_utc at_mono_ns boot_id kind correlation"),
    *each(ANY, "clock.", "offset_us error_us source checked_at"),
    *each(ANY, "writer.", "env venue profile account_id host process pid"),
    *each(ANY, "writer.", "who version build_hash config_hash"),
    *each(ANY, "writer.", "epoch bot_id limits_version"),
    # an intent: what is to be sent, defaults included
    *each(INTENT, "body.", "intent_id purpose product_id size size_unit"),
    Field(INTENT, "body.price_unit"),
    Field(INTENT, "body.contracts", "sized in base coin", "global"),
    *each(INTENT, "body.request.", "identity side size type time_in_force"),
    *each(INTENT, "body.request.", "price post_only reduce_only valid_until_ms"),
    *each(INTENT, "body.request.", "trigger trigger_price"),
    Field(INTENT, "body.request.ends_ms", "not asked for", "global"),
    Field(INTENT, "body.request.slot", "cross margin"),
    Field(INTENT, "body.request.allocated_margin", "not asked for"),
    # an intent: who decided and who carried out, as what, by which rule
    *each(INTENT, "body.decision_maker.", "algorithm_id algorithm_version operator_id"),
    *each(INTENT, "body.execution_maker.", "algorithm_id algorithm_version operator_id"),
    *each(INTENT, "body.", "manual_or_automated trading_capacity risk_day currency"),
    *each(INTENT, "body.", "strategy strategy_params_hash"),
    Field(INTENT, "body.client_id", "trades for own account"),
    # an intent: on which prices, product, money, exposure, at which expected cost
    *each(INTENT, "body.inputs.", "bid bid_size ask ask_size mid index last spread_bp age_ms source venue_at_ms"),
    Field(INTENT, "body.inputs.mark", "the venue did not tell", "us"),
    *each(INTENT, "body.inputs.", "funding_8h open_interest book.bids book.asks book.levels book.age_ms book.source"),
    *each(INTENT, "body.instrument.", "symbol tick size_step min_size maker_fee taker_fee spec_hash age_ms state"),
    Field(INTENT, "body.instrument.contract_size", "sized in base coin", "global"),
    *each(INTENT, "body.account_before.", "equity initial_margin maintenance_margin available currency age_ms"),
    *each(INTENT, "body.account_before.", "day_pnl day_baseline"),
    Field(INTENT, "body.account_before.margin_window", "this venue has one margin for all hours", "global"),
    *each(INTENT, "body.exposure_before.", "position working unknown unit gross net"),
    *each(INTENT, "body.position_effect_expected.", "before after worst_case unit"),
    *each(INTENT, "body.cost_expected.", "fee slippage impact currency"),
    Field(INTENT, "body.usdc_usd", "no rate between the two is read: nothing is converted"),
    # the gate's word on it
    *each(INTENT, "body.decision.", "allowed reduces controls entered_count left_count evaluation_us"),
    Field(INTENT, "body.decision.first_refusal", "nothing was refused"),
    # each try as it was on the wire
    *each(SENT, "body.attempt.", "method sent_at mode latch lease_epoch"),
    Field(SENT, "body.attempt.lease_left_ms"),
    *each(ANSWERS, "body.attempt.", "answered_at sent_at method"),
    *each(ANSWERS, "body.attempt.tries.*.", "attempt way method host sent_at"),
    *each(ANSWERS, "body.attempt.tries.*.", "answered_at took_us http_status"),
    *each(ANSWERS, "body.attempt.tries.*.", "request_hash response_hash response_kept"),
    *each(ANSWERS, "body.attempt.tries.*.", "key_id token_age_s venue_date rate_budget_left"),
    Field(ANSWERS, "body.attempt.tries.*.connection_id", "one of a pool", "us"),
    Field(ANSWERS, "body.attempt.tries.*.venue_in_us", NO_TIMES, "us"),
    Field(ANSWERS, "body.attempt.tries.*.venue_out_us", NO_TIMES, "us"),
    Field(ANSWERS, "body.outcome"),
    # an order's state, and who told it
    *each(STATES, "body.", "order_id ours state_before state_after"),
    *each(STATES, "body.order.", "identity origin status updated_ms filled"),
    Field(STATES, "body.order.average_price"),
    Field((Kind.ORDER_SEEN, Kind.CANCEL_CONFIRMED), "body.order.cancel_reason"),
    Field((Kind.ORDER_SEEN,), "body.seen_by"),
    # a fill
    *each((Kind.FILL_BOOKED,), "body.fill.", "trade_id order_id size price fee"),
    *each((Kind.FILL_BOOKED,), "body.fill.", "fee_currency liquidity liquidation"),
    *each((Kind.FILL_BOOKED,), "body.", "trade_type position_after realised arrival_price slippage_bp"),
    *each((Kind.FILL_BOOKED,), "body.", "counted_once_key seen_by ours effect"),
    *(
        Field((Kind.FILL_BOOKED,), f"body.fill.{name}", "the venue did not tell", "us")
        for name in ("trade_seq", "mark", "index")
    ),
    # what an operator asked for: who, from where, how the money was named, what the screen said, what came of it
    *each(PLAN, "body.operator.", "operator_id real_uid sudo_user source_address"),
    Field(PLAN, "body.operator.tty"),
    Field(PLAN, "body.operator.login_uid", "not so, or not told by this system"),
    Field(PLAN, "body.operator.login_session", "not so, or not told by this system"),
    *each(PLAN, "body.", "plan risk argv environment_named reason fingerprint"),
    *each(PLAN, "body.", "plan_shown decided_in_s confirmed steps"),
    Field(PLAN, "body.typed_confirmation", "nothing was to be typed"),
    *each((Kind.STEP_DONE,), "body.", "step title result evidence left facts"),
    *each((Kind.PLAN_ENDED,), "body.", "exit_code verdict not_reached unknown_left"),
    # each line to the venue, from the try to open it to its end, and whether entries die with it
    *each(LINES, "body.connection.", "line host connection_id opened_at resync_ms messages granted refused"),
    *each((Kind.CONNECTION_CLOSED,), "body.connection.", "closed_at lasted_ms cause"),
    Field((Kind.CONNECTION_CLOSED,), "body.connection.code", "it did not come so far, or ended without"),
    *each((Kind.FEED_LOST,), "body.", "channel why"),
    *each((Kind.FEED_RESUMED,), "body.", "channel out_ms read_anew.orders read_anew.positions read_anew.fills"),
    *each((Kind.DEAD_MAN_READ,), "body.", "armed by"),
    Field((Kind.DEAD_MAN_READ,), "body.not_offered", "it is offered", "global"),
    # what is traded, as the venue specified it
    *each((Kind.INSTRUMENT_SEEN,), "body.", "product_id spec_hash row.tick row.size_step row.min_size row.symbol"),
    Field((Kind.INSTRUMENT_SEEN,), "body.changed", "not known before"),
    # who asked what of the bot
    *each((Kind.ACCESS_LOGGED,), "body.", "since requests.*.count requests.*.asking.door requests.*.asking.what"),
    *each((Kind.ACCESS_LOGGED,), "body.requests.*.asking.", "status uid pid by_token asked"),
    # who only looked, by which words
    *each((Kind.LOOKS_TAKEN,), "body.looks.*.", "at argv"),
    *each((Kind.LOOKS_TAKEN,), "body.looks.*.operator.", "operator_id real_uid sudo_user source_address"),
    Field((Kind.LOOKS_TAKEN,), "body.looks.*.operator.tty", "not so, or not told by this system"),
    # where the chain ended, each minute, signed
    *each((Kind.HEAD_SIGNED,), "body.", "seq hash signature algorithm sent_to"),
    # our books beside the venue's: when it was read, and where they part
    *each((Kind.RECONCILE_ENDED,), "body.", "clean read_from differences unknown_orders"),
    Field((Kind.RECONCILE_ENDED,), "body.failed", "it did not fail"),
    # a run, and the mode
    *each((Kind.RUN_STARTED,), "body.", "strategy limits options operator.operator_id"),
    *each((Kind.RUN_STOPPED,), "body.", "entries_read_back kept fills day_result leave_orders flatten"),
    *each((Kind.MODE_CHANGED,), "body.", "from to who why cause"),
)


def test_every_fact_is_on_the_record(paper: dict[str, Any]) -> None:
    journal = story(paper)
    lacking = [found for field in FIELDS for found in lacks(field, journal, paper["venue"])]
    assert not lacking, "\n".join(lacking)
    every_record_names_its_build(journal)
    each_answer_is_on_record_as_it_was_on_the_wire(journal, paper)
    the_clocks_are_compared(journal)
    the_operator_is_on_record(journal)
    each_line_is_told_from_its_opening_to_its_end(journal)
    whoever_asked_is_on_record(journal)
    the_end_of_the_chain_is_signed(journal)


def lacks(field: Field, journal: list[Line], venue: str) -> Iterator[str]:
    """In words, what is wrong with a fact."""
    kinds = " or ".join(field.kinds) or "any line"
    lines = [line for line in journal if not field.kinds or line["kind"] in field.kinds]
    found = [(line, where, value) for line in lines for where, value in members(line, field.path.split("."))]
    for line in lines:
        if not any(one is line for one, _, _ in found):
            yield f"{kinds} {line['seq']} lacks {field.path}"
    reasons = {line["absent_reason"].get(where) for line, where, value in found if value is None}
    if not reasons.isdisjoint(UNEXPLAINED):
        yield f"{kinds}: {field.path} is null without a reason"
    may_lack = {field.absent} if field.absent and field.at in ("", venue) else None
    if all(value is None for _, _, value in found) and reasons != may_lack:
        yield f"{kinds}: {field.path} is nowhere, {reasons or 'there is no such line'}"


def members(value: Any, path: list[str], where: str = "") -> Iterator[tuple[str, Any]]:
    """What stands there, and at which place of the line; a null on the way is the value of all below it."""
    if not path or value is None:
        yield where, value
    elif path[0] == "*":
        for one in value:
            yield from members(one, path[1:], where)
    elif path[0] in value:
        yield from members(value[path[0]], path[1:], f"{where}.{path[0]}".lstrip("."))


def of(journal: list[Line], *kinds: Kind) -> list[Line]:
    found = [line for line in journal if line["kind"] in kinds]
    assert found, f"no {kinds} in {sorted({line['kind'] for line in journal})}"
    return found


def every_record_names_its_build(journal: list[Line]) -> None:
    build = hash_of_code(Path(perpctl.__file__).parent)
    assert {line["writer"]["build_hash"] for line in journal} == {build}
    settings = hashlib.sha256((profile.config_dir() / "config.toml").read_bytes()).hexdigest()[:16]
    assert {line["writer"]["config_hash"] for line in journal} == {settings}
    placed = of(journal, Kind.ORDER_INTENDED)[0]
    assert len(placed["writer"]["limits_version"]) == 16
    started = of(journal, Kind.RUN_STARTED)[0]
    assert placed["writer"]["limits_version"] == started["writer"]["limits_version"]


def each_answer_is_on_record_as_it_was_on_the_wire(journal: list[Line], paper: dict[str, Any]) -> None:
    ways = set()
    for line in of(journal, Kind.ORDER_CONFIRMED, Kind.CANCEL_CONFIRMED):
        attempt = line["body"]["attempt"]
        for number, passed in enumerate(attempt["tries"], 1):
            assert passed["attempt"] == number
            it_was_so_on_the_wire(passed, paper)
            times = [attempt["sent_at"], passed["sent_at"], passed["answered_at"], attempt["answered_at"]]
            assert times == sorted(times)
        it_says_what_the_venue_said(line)
        ways |= {(line["writer"]["process"], passed["way"]) for passed in attempt["tries"]}
    over_the_socket = ("perpctl run", "websocket") in ways
    assert over_the_socket is (paper["venue"] == "global"), "entries over the socket where the venue takes them there"
    assert ("perpctl run", "http") in ways, "stops over HTTP"


def it_was_so_on_the_wire(passed: Line, paper: dict[str, Any]) -> None:
    on_a_socket = passed["way"] == "websocket"
    addresses = {"global": ("gateway_http", "gateway_ws"), "us": ("advanced_trade_rest", "advanced_trade_ws")}
    assert passed["host"] in paper[addresses[paper["venue"]][on_a_socket]]
    assert passed["method"].startswith("private/" if paper["venue"] == "global" else "POST /orders")
    assert passed["http_status"] == (None if on_a_socket else 200)
    assert (passed["connection_id"] is not None) is on_a_socket
    assert len(passed["request_hash"]) == len(passed["response_hash"]) == HEX
    assert passed["request_hash"] != passed["response_hash"]
    assert passed["key_id"]
    assert "/" not in passed["key_id"]
    assert passed["token_age_s"] >= 0
    assert 0 < passed["took_us"] < 5_000_000
    assert (passed["venue_date"] is not None) is not on_a_socket
    if paper["venue"] == "global":
        assert passed["rate_budget_left"] >= 0
        venue_in, venue_out = (_from_us(passed[name]) for name in ("venue_in_us", "venue_out_us"))
        assert datetime.fromisoformat(passed["sent_at"]) - timedelta(seconds=1) < venue_in < venue_out


def it_says_what_the_venue_said(line: Line) -> None:
    """The body itself is kept, so that a dispute is about the venue's words and not about our reading of them."""
    kept = [passed["response_kept"] for passed in line["body"]["attempt"]["tries"]]
    assert all(json.loads(one) for one in kept), "an answer is kept as it came"
    if line["kind"] == Kind.ORDER_CONFIRMED:  # a cancel may be told that the order is gone, without its name
        assert line["body"]["order_id"] in kept[-1]


def the_clocks_are_compared(journal: list[Line]) -> None:
    """On one machine both clocks are one: the offset lies within its own error, and every later line repeats it."""
    for line in of(journal, Kind.ORDER_INTENDED, Kind.CANCEL_INTENDED):
        clock = line["clock"]
        assert abs(clock["offset_us"]) <= clock["error_us"] + 1000, clock
        assert 0 < clock["error_us"] < 5_000_000


def the_operator_is_on_record(journal: list[Line]) -> None:
    shown, forced = of(journal, Kind.PLAN_STARTED)
    for plan in (shown, forced):
        operator = plan["body"]["operator"]
        assert (operator["operator_id"], operator["sudo_user"], operator["source_address"]) == ("alice", "alice", FROM)
        assert operator["real_uid"] == os.getuid()
        assert (plan["body"]["environment_named"], plan["body"]["profile_variable"]) == ("variable", "paper")
        assert (plan["body"]["reason"], plan["writer"]["who"]) == (REASON, "alice")
    assert forced["body"]["argv"] == ["cancel-all", "--include-stops", "--yes", "--reason", REASON]
    assert (forced["body"]["confirmed"], forced["body"]["operator"]["tty"]) == ("--yes", None)
    assert shown["body"]["confirmed"] == "yes"
    assert shown["body"]["operator"]["tty"].startswith("/dev/")
    assert "WHAT WOULD BE DONE" in shown["body"]["plan_shown"]
    assert "SELL" in shown["body"]["plan_shown"]
    assert float(shown["body"]["decided_in_s"]) >= 0
    assert of(journal, Kind.RUN_STARTED)[0]["body"]["operator"]["real_uid"] == os.getuid()


def each_line_is_told_from_its_opening_to_its_end(journal: list[Line]) -> None:
    """Cut once, and hung up at the end: two lives of each of two lines, and the feeds know how long they were blind."""
    opened, closed = ([line["body"]["connection"] for line in of(journal, kind)] for kind in LINES)
    lives = {("user", "1"), ("user", "2"), ("market", "1"), ("market", "2")}
    for told in (opened, closed):
        assert {(one["line"], one["connection_id"]) for one in told} == lives
    assert all(one["granted"] and not one["refused"] for one in opened)
    assert {one["cause"] for one in closed if one["connection_id"] == "2"} == {"we hung up"}
    assert all(one["opened_at"] < one["closed_at"] and one["lasted_ms"] >= one["resync_ms"] for one in closed)
    lost = [line["body"]["channel"] for line in of(journal, Kind.FEED_LOST)]
    back = [line["body"] for line in of(journal, Kind.FEED_RESUMED)]
    assert {one["channel"] for one in back if one["out_ms"] is not None} >= set(lost)
    assert [line["body"]["armed"] for line in of(journal, Kind.DEAD_MAN_READ)] == [True, False, True]


def whoever_asked_is_on_record(journal: list[Line]) -> None:
    """Every sort of request with the user that the kernel names, what was refused included; no token."""
    asked = [one["asking"] for line in of(journal, Kind.ACCESS_LOGGED) for one in line["body"]["requests"]]
    told = {(one["door"], one["what"], one["status"], one["asked"]) for one in asked}
    assert told >= {
        ("local service", "GET /metrics", "200", None),
        ("local service", "GET /api/status", "421", None),
        ("local service", "POST /api/mode", "401", "normal |  | "),
        ("local service", "POST /api/mode", "200", f"reduce_only | bob | {REASON}"),
        ("control socket", "status", "done", None),
    }
    assert {one["uid"] for one in asked} == {os.getuid()}
    (look,) = [look for line in of(journal, Kind.LOOKS_TAKEN) for look in line["body"]["looks"]]
    assert (look["argv"], look["operator"]["operator_id"]) == (["positions"], "alice")


def the_end_of_the_chain_is_signed(journal: list[Line]) -> None:
    """From the start to the end of a run, over the line before; by nobody who lacks the key."""
    heads = of(journal, Kind.HEAD_SIGNED)
    stopped = of(journal, Kind.RUN_STOPPED)[0]
    assert heads[0]["seq"] < of(journal, Kind.ORDER_INTENDED)[0]["seq"]
    assert heads[-1]["seq"] > stopped["seq"]
    assert all(head["body"]["seq"] == head["seq"] - 1 for head in heads)
    key = load_identity_key(profile.config_dir())
    with JournalReader.open_read(profile.load("paper").state_dir / "journal.db") as reader:
        assert list(false_heads(reader, key)) == []
        assert len(list(false_heads(reader, bytes(32)))) == len(heads)


def _from_us(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
