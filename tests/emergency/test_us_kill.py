"""A kill at the US venue in virtual time: what is sent, in which order, how large, and what counts as proof."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from perpctl.emergency.target import Timing
from perpctl.emergency.venue.wire import HttpAnswer, NoAnswer
from perpctl.model import identity
from perpctl.paper.terms.us import BIT, ETP
from tests.emergency.virtual import Kill, VirtualWorld, depth, held, new_kill
from tests.paper.advanced_trade.trader import BIP_ID, Trader, new_trader


@pytest.fixture
def trader() -> Trader:
    trader = new_trader()
    depth(trader, 50)
    return trader


def sizes(kill: Kill) -> list[str]:
    return [body["size"] for body in kill.closes]


def protect(trader: Trader, contracts: int, stop: str = "80000") -> str:
    """A stop under a long position in BIP."""
    limit = str(Decimal(stop) - 800)
    return trader.placed(
        "SELL",
        contracts,
        "stop_limit_stop_limit_gtc",
        stop_price=stop,
        limit_price=limit,
        stop_direction="STOP_DIRECTION_STOP_DOWN",
    )


def test_one_contract_then_its_stop_then_the_rest(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    stop = protect(trader, 10)
    entries = [trader.limit("BUY", 1, str(83_000 + 5 * number)) for number in range(20)]
    kill = new_kill(trader, tmp_path)
    assert kill.run() == 0
    assert held(trader) == {}
    assert trader.exchange.open_orders(1) == []
    assert sizes(kill) == ["1", "9"]
    assert all(identity.is_kill(body["client_order_id"]) for body in kill.closes)
    asked = [path for _, path, _ in kill.line.sent]
    first, rest = (index for index, path in enumerate(asked) if path == "orders/close_position")
    cancels = [index for index, path in enumerate(asked) if path == "orders/batch_cancel"]
    batches = kill.line.bodies("orders/batch_cancel")
    assert sorted(batches[0]["order_ids"]) == sorted(entries)
    assert batches[1] == {"order_ids": [stop]}
    assert cancels[0] < first < cancels[1] < rest
    assert kill.pursuit.canceller.cancelled == set(entries)


def test_a_stop_that_one_contract_made_too_large_is_no_entry(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    stop = protect(trader, 10)
    kill = new_kill(trader, tmp_path)
    kill.run()
    assert stop not in kill.pursuit.canceller.cancelled
    assert kill.pursuit.closer.stops_dropped == 1


def test_position_of_one_contract_loses_its_stop_first(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 1)
    stop = protect(trader, 1)
    kill = new_kill(trader, tmp_path)
    assert kill.run() == 0
    asked = [path for _, path, _ in kill.line.sent]
    assert asked.index("orders/batch_cancel") < asked.index("orders/close_position")
    assert kill.line.bodies("orders/batch_cancel") == [{"order_ids": [stop]}]


def test_the_rest_follows_before_the_position_shows_our_own_contract(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    protect(trader, 10)
    kill = new_kill(trader, tmp_path)
    until, sent_at = trader.wall_s + 30, list[float]()

    def ten_as_before(path: str, answer: HttpAnswer) -> HttpAnswer:
        if path == "orders/close_position":
            sent_at.append(trader.wall_s)
        if path == "cfm/positions" and trader.wall_s < until:
            return answer._replace(
                body=answer.body.replace(b'"number_of_contracts":"9"', b'"number_of_contracts":"10"')
            )
        return answer

    kill.line.spoil = ten_as_before
    assert kill.run() == 0
    assert sizes(kill) == ["1", "9"]
    assert sent_at[1] < until


def test_a_read_that_stays_old_is_believed_only_when_it_must_be_new(trader: Trader, tmp_path: Path) -> None:
    """Somebody else closed half of it: after a minute the smaller position is what there is."""
    trader.order("BUY", 10)
    kill = new_kill(trader, tmp_path)
    kill.world.plan(0.165, lambda: trader.order("SELL", 5))
    assert kill.run() == 0
    assert held(trader) == {}
    assert sum(map(int, sizes(kill))) == 5


def test_a_refused_rest_puts_the_stop_back(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    protect(trader, 10)
    kill = new_kill(trader, tmp_path, timing=Timing(8.0, 15.0, 60.0))
    refuse_closes_above(kill, "1", times=3)
    assert kill.run() == 0
    placed = kill.line.bodies("orders")
    assert [body["order_configuration"]["stop_limit_stop_limit_gtc"]["base_size"] for body in placed] == ["9"] * 3
    assert len({body["client_order_id"] for body in placed}) == 3
    assert all(identity.is_kill(body["client_order_id"]) for body in placed)
    assert trader.exchange.open_orders(1) == []


def test_an_unknown_rest_puts_the_stop_back_and_is_the_same_order_again(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    protect(trader, 10)
    kill = new_kill(trader, tmp_path)
    lose_answers(kill, "orders/close_position", [3], requests=[2])
    assert kill.run() == 0
    ids = [body["client_order_id"] for body in kill.closes]
    assert len(ids) == 3
    assert len(set(ids[1:])) == 1, "what may have been executed is asked for under the same identity"
    assert len(kill.line.bodies("orders")) >= 1
    assert held(trader) == {}
    assert trader.exchange.open_orders(1) == []


def test_a_position_that_an_unanswered_close_took_is_settled_before_it_is_flat(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 1)
    kill = new_kill(trader, tmp_path)
    lose_answers(kill, "orders/close_position", [1])
    assert kill.run() == 0
    assert not kill.pursuit.closer.unsettled
    assert kill.pursuit.closer.closed[BIP_ID, None].executions


def test_a_close_of_unknown_fate_is_never_called_flat(trader: Trader, tmp_path: Path) -> None:
    """The position reads zero, orders and fills are shown half a minute late: until then it is unknown."""
    trader.order("BUY", 1)
    trader.face.switches.change({"lag_s": 30})
    kill = new_kill(trader, tmp_path, timing=Timing(3.0, 15.0, 60.0))
    lose_answers(kill, "orders/close_position", [1])
    assert kill.run() == 0
    assert kill.told == [3]
    assert kill.pursuit.closer.closed[BIP_ID, None].executions


def test_two_kills_that_see_the_same_make_one_order(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    kills = [new_kill(trader, tmp_path, kill_id=f"K-{number}") for number in (1, 2)]
    looks = [(kill.pursuit, venue, kill.pursuit._look(venue)) for kill in kills for venue in [kill.pursuit._entered()]]
    for pursuit, venue, standing in looks:
        pursuit.closer.meet(standing.positions)
        pursuit.closer._learn(venue)  # what it counts with is read before either sends
    for pursuit, venue, standing in looks:
        assert pursuit.closer.close_some(venue, standing).filled
    one, other = (kill.closes[0]["client_order_id"] for kill in kills)
    assert one == other
    assert held(trader)[BIP_ID] == 9


def test_two_kills_beside_each_other_never_turn_a_position(trader: Trader, tmp_path: Path) -> None:
    trader.order("SELL", 12)
    signs = watch_signs(trader)
    one = new_kill(trader, tmp_path)
    other = new_kill(trader, tmp_path, kill_id="K-2", world=VirtualWorld(trader))
    for after_s in (0.30, 0.45, 0.60):
        one.world.plan(after_s, partial(_one_round, other))
    assert one.run() == 0
    assert held(trader) == {}
    assert signs <= {0, -1}


def test_what_stands_near_the_touch_bounds_each_close(trader: Trader, tmp_path: Path) -> None:
    trader.exchange.deposit(1, Decimal(1_000_000), trader.exchange.now)
    trader.order("BUY", 800)
    depth(trader, 20)
    bids = trader.exchange.book(BIP_ID, 500).bids
    within = sum(amount for price, amount in bids if price >= bids[0][0] * Decimal("0.9985")) // Decimal("0.01")
    kill = new_kill(trader, tmp_path)
    assert kill.run() == 0
    first, second, *_ = map(int, sizes(kill))
    assert (first, second) == (1, within - 1)


def test_market_closes_all_after_the_first_contract(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 150)
    depth(trader, 20)
    kill = new_kill(trader, tmp_path, market=True)
    assert kill.run() == 0
    assert sizes(kill)[:2] == ["1", "149"]


def test_max_slippage_ends_the_ladder_and_the_stop_is_back(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 200)
    protect(trader, 200)
    depth(trader, 20)
    kill = new_kill(trader, tmp_path, max_slippage=Decimal("0.0001"))
    assert kill.run() == 6
    left = held(trader)[BIP_ID]
    assert 0 < left < 200
    (stop,) = trader.exchange.open_orders(1)
    assert stop.amount == left * Decimal("0.01")


def test_ids_are_batched_as_the_venue_wants_them(trader: Trader, tmp_path: Path) -> None:
    for number in range(130):
        trader.limit("BUY", 1, str(80_000 + 5 * number))
    kill = new_kill(trader, tmp_path)

    def forty(path: str, answer: HttpAnswer) -> HttpAnswer:
        asked = kill.line.bodies(path)[-1]["order_ids"] if path == "orders/batch_cancel" else []
        if len(asked) > 40:
            body = b'{"error":"InvalidArgument","error_details":"Too many orderIDs entered, limit is 40"}'
            return answer._replace(status=400, body=body)
        return answer

    kill.line.spoil = forty
    assert kill.run() == 0
    assert trader.exchange.open_orders(1) == []
    lengths = [len(body["order_ids"]) for body in kill.line.bodies("orders/batch_cancel")]
    assert lengths[0] == 100
    assert max(lengths[1:]) == 40


def test_what_the_simple_app_ordered_is_found_and_cancelled(trader: Trader, tmp_path: Path) -> None:
    terms = {"limit_limit_gtc": {"base_size": "1", "limit_price": "80000"}}
    body = {"product_id": BIP_ID, "side": "BUY", "order_configuration": terms}
    trader.face.app_order(1, body, trader.wall_s)
    assert len(trader.exchange.open_orders(1)) == 1
    assert new_kill(trader, tmp_path).run() == 0
    assert trader.exchange.open_orders(1) == []


@pytest.mark.parametrize("word", ["PENDING", "QUEUED"])
def test_what_is_not_open_yet_is_cancelled_too(trader: Trader, tmp_path: Path, word: str) -> None:
    trader.face.switches.change({"pending_s": 300, "pending_as": word})
    trader.limit("BUY", 1, "80000")
    kill = new_kill(trader, tmp_path)
    assert kill.run() == 0
    assert trader.exchange.open_orders(1) == []


def test_a_list_that_is_held_back_is_unknown(trader: Trader, tmp_path: Path) -> None:
    trader.face.switches.change({"proof_token": "secret"})
    kill = new_kill(trader, tmp_path)
    kill.world.plan(200, lambda: trader.face.switches.change({"proof_token": ""}))
    assert kill.run() == 0
    assert kill.told == [3]


def test_the_wrong_portfolio_gets_nothing_sent(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 1)
    kill = new_kill(trader, tmp_path, pin="11111111-1111-4111-8111-111111111111")
    kill.world.plan(60, lambda: setattr(kill.pursuit, "over", True))
    kill.run()
    assert kill.told == [3]
    assert not [path for method, path, _ in kill.line.sent if method == "POST"]
    assert held(trader) == {BIP_ID: 1}


def test_no_close_while_the_venue_liquidates(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    kill = new_kill(trader, tmp_path)
    until = trader.wall_s + 100

    def short_of_margin(path: str, answer: HttpAnswer) -> HttpAnswer:
        if path != "cfm/balance_summary" or trader.wall_s > until:
            return answer
        summary = json.loads(answer.body)
        summary["balance_summary"]["available_margin"]["value"] = "1"
        summary["balance_summary"]["liquidation_threshold"]["value"] = "2"
        return answer._replace(body=json.dumps(summary).encode())

    kill.line.spoil = short_of_margin
    kill.world.plan(99, lambda: closed_so_far.append(len(kill.closes)))
    closed_so_far: list[int] = []
    assert kill.run() == 0
    assert closed_so_far == [0], "not even one now and then: it could open the other side"


def test_asking_too_often_waits_a_second_and_two_at_most(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 2)
    kill = new_kill(trader, tmp_path)
    until, seen = trader.wall_s + 12, list[float]()

    def too_many(path: str, answer: HttpAnswer) -> HttpAnswer:
        if path.startswith("orders/historical/batch") and trader.wall_s < until:
            seen.append(trader.wall_s)
            body = b'{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}'
            return HttpAnswer(429, {"retry-after": "3600"}, body)
        return answer

    kill.line.spoil = too_many
    assert kill.run() == 0
    gaps = [later - earlier for earlier, later in pairwise(seen) if later - earlier > 0.5]
    assert len(gaps) >= 5
    assert max(gaps) < 2.5


def test_a_closed_session_is_pending_and_entries_go_first_when_it_opens(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 5)
    trader.limit("BUY", 1, "80000")
    now = trader.exchange.now
    trader.exchange.plan_stop(now, now + 600_000, now)
    kill = new_kill(trader, tmp_path)
    asked: list[float] = []
    kill.line.spoil = lambda path, answer: (asked.append(trader.wall_s - now / 1000), answer)[1]
    assert kill.run() == 0
    assert kill.told == [6]
    assert "session closed" in kill.pursuit.record.path.read_text()
    quiet = [later - earlier for earlier, later in pairwise(asked) if later < 539]
    assert max(quiet) > 55, "once a minute while it is far away"
    near = [later - earlier for earlier, later in pairwise(asked) if 542 < later < 599]
    assert max(near) < 1.5
    posts = [path for method, path, _ in kill.line.sent if method == "POST"]
    assert posts[-2:] != []
    opened = [path for path in posts if path in ("orders/batch_cancel", "orders/close_position")]
    assert opened.index("orders/close_position") > 0
    assert held(trader) == {}


def test_what_another_kill_closed_adds_up_at_once(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    kill = new_kill(trader, tmp_path)
    label = identity.make(bytes(32), identity.KILL_EPOCH, 7)
    close = {"client_order_id": label, "product_id": BIP_ID, "size": "9"}
    kill.world.plan(0.165, lambda: trader.post("/orders/close_position", **close))
    began = trader.wall_s
    assert kill.run() == 0
    assert sizes(kill) == ["1"]
    assert trader.wall_s - began < 30, "no minute of waiting: fills account for all of it"


def test_nothing_to_close_is_held_as_long_as_reads_may_lag(trader: Trader, tmp_path: Path) -> None:
    kill = new_kill(trader, tmp_path)
    began = trader.wall_s
    assert kill.run() == 0
    assert trader.wall_s - began > 60


def test_a_bracket_that_holds_the_position_goes_first(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 4)
    trader.placed("SELL", 4, "trigger_bracket_gtc", limit_price="90000", stop_trigger_price="80000")
    kill = new_kill(trader, tmp_path)
    assert kill.run() == 0
    assert held(trader) == {}
    assert trader.exchange.open_orders(1) == []


def test_close_to_liquidation_all_goes_at_once_and_the_stop_before_it(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    protect(trader, 10)
    kill = new_kill(trader, tmp_path)

    def one_percent_away(path: str, answer: HttpAnswer) -> HttpAnswer:
        if path != "cfm/balance_summary":
            return answer
        summary = json.loads(answer.body)
        summary["balance_summary"]["available_margin"]["value"] = "184"
        summary["balance_summary"]["liquidation_threshold"]["value"] = "100"
        return answer._replace(body=json.dumps(summary).encode())

    kill.line.spoil = one_percent_away
    assert kill.run() == 0
    assert sizes(kill) == ["10"]
    asked = [path for _, path, _ in kill.line.sent]
    assert asked.index("orders/batch_cancel") < asked.index("orders/close_position")


def test_of_a_shared_position_only_our_part_is_closed(trader: Trader, tmp_path: Path) -> None:
    key = bytes(range(32))
    trader.order("BUY", 6, client_order_id=identity.make(key, 4, 1))
    trader.order("BUY", 3)
    mine = trader.placed("BUY", 1, "limit_limit_gtc", limit_price="80000", client_order_id=identity.make(key, 4, 2))
    trader.limit("BUY", 1, "80000")
    kill = new_kill(trader, tmp_path, scope="ours", identity_key=key)
    assert kill.run() == 0
    assert held(trader) == {BIP_ID: 3}
    assert len(trader.exchange.open_orders(1)) == 1
    assert kill.pursuit.canceller.cancelled == {mine}


def test_a_scope_that_would_raise_the_net_of_perpetual_and_dated_future_is_refused(
    trader: Trader, tmp_path: Path
) -> None:
    key = bytes(range(32))
    trader.order("BUY", 6, client_order_id=identity.make(key, 4, 1))
    trader.order("SELL", 5, product_id=BIT.name)
    kill = new_kill(trader, tmp_path, scope="ours", identity_key=key)
    assert kill.run() == 6
    assert held(trader) == {BIP_ID: 6, BIT.name: -5}


def test_a_clock_that_is_wrong_is_put_right_by_the_first_refusal(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 2)
    world = Skewed(trader)
    kill = new_kill(trader, tmp_path, world=world)
    assert kill.run() == 0
    assert held(trader) == {}


def test_a_key_that_may_not_trade_makes_room_for_the_next(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 2)
    viewer = tmp_path / "viewer.json"
    viewer.write_text(json.dumps(trader.other_key("view", account=1)))
    kill = new_kill(trader, tmp_path, keys=(viewer, tmp_path / "missing.json"))
    assert kill.run() == 0
    assert held(trader) == {}


def test_one_product_that_is_halted_holds_up_no_other(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 4)
    trader.order("SELL", 8, product_id=ETP.name)
    trader.limit("BUY", 1, "80000")
    trader.exchange.set_book_state(BIP_ID, "halted", trader.exchange.now)
    kill = new_kill(trader, tmp_path)
    kill.world.plan(20, lambda: closed_by_then.append(held(trader)))
    kill.world.plan(30, lambda: trader.exchange.set_book_state(BIP_ID, "open", trader.exchange.now))
    closed_by_then: list[dict[str, Decimal]] = []
    assert kill.run() == 0
    assert closed_by_then == [{BIP_ID: Decimal(4)}]
    assert held(trader) == {}


def test_no_more_is_asked_for_in_a_second_than_the_venue_takes(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 2)
    for number in range(120):
        trader.limit("BUY", 1, str(80_000 + 5 * number))
    kill = new_kill(trader, tmp_path)
    kill.line.takes_s = 0.0
    trader.face.limits.enabled = True
    asked: list[float] = []
    kill.line.spoil = lambda _, answer: (asked.append(trader.wall_s), answer)[1]
    assert kill.run() == 0
    assert max(sum(1 for at in asked if start <= at < start + 1) for start in asked) <= 30
    assert "Too many" not in kill.pursuit.record.path.read_text()


# -- hands


class Skewed(VirtualWorld):
    """A machine whose clock is two hours behind."""

    def wall_s(self) -> float:
        return self.trader.wall_s - 7_200


def _one_round(kill: Kill) -> None:
    kill.pursuit._round()


def refuse_closes_above(kill: Kill, size: str, *, times: int) -> None:
    """The next closes of another size are refused before they are carried out."""
    left, post = [times], kill.line.post

    def refusing(path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        if path == "orders/close_position" and json.loads(body)["size"] != size and left[0]:
            left[0] -= 1
            kill.line.sent.append(("POST", path, body))
            no = {"error": "COMMANDER_REJECTED_NEW_ORDER", "new_order_failure_reason": "COMMANDER_REJECTED_NEW_ORDER"}
            return HttpAnswer(200, {}, json.dumps({"success": False, "error_response": no}).encode())
        return post(path, body, headers, seconds)

    kill.line.post = refusing  # type: ignore[method-assign]


def lose_answers(kill: Kill, path: str, which: list[int], requests: Sequence[int] = ()) -> None:
    """These answers (counted from 1) get lost after the request was carried out, these `requests` before it."""
    count, post = [0], kill.line.post

    def losing(asked: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        count[0] += asked == path
        if asked == path and count[0] in requests:
            kill.line.sent.append(("POST", asked, body))
            raise NoAnswer("the request was lost", sent=True)
        answer = post(asked, body, headers, seconds)
        if asked == path and count[0] in which:
            raise NoAnswer("the answer was lost", sent=True)
        return answer

    kill.line.post = losing  # type: ignore[method-assign]


def watch_signs(trader: Trader) -> set[int]:
    """Every sign that the position in BIP has after a request, from now on."""
    signs: set[int] = set()
    handle = trader.face.handle_http

    def watched(*words: Any, **more: Any) -> Any:
        reply = handle(*words, **more)
        size = held(trader).get(BIP_ID, 0)
        signs.add((size > 0) - (size < 0))
        return reply

    trader.face.handle_http = watched  # type: ignore[method-assign]
    return signs
