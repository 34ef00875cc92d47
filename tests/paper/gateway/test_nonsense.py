"""Whatever is sent, the answer is the gateway's own: a result or an error with a code, never a bug."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpctl.paper.gateway.channels import open_stream
from perpctl.paper.gateway.face import LACKING, METHODS, SOCKET_ONLY
from perpctl.paper.gateway.session import SESSION_METHODS
from tests.paper.gateway.trader import BTC, ETH, Trader, new_trader

NAMES = sorted({*METHODS, *SOCKET_ONLY, *LACKING, "private/nothing", "public/auth"} - {"private/logout"})
ODD = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.lists(st.text(max_size=4), max_size=2)
    | st.just({})
)
LIKELY = {
    "instrument_name": st.sampled_from([BTC, ETH, "BTC-PERPETUAL", "BTC_USDC", "BTC_USDC-1OCT26"]),
    "currency": st.sampled_from(["USDC", "BTC", "any"]),
    "amount": st.sampled_from([0.01, 0.1, "0.02", 1e-9, 10**9, -1, 0]),
    "contracts": st.sampled_from([1, 100, 0.5]),
    "price": st.sampled_from([84000, 83999.9, 84500, 0, -5, "84000.05", 1e-12]),
    "type": st.sampled_from(["limit", "market", "stop_market", "stop_limit", "take_limit", "trailing_stop", "all"]),
    "trigger": st.sampled_from(["mark_price", "index_price", "last_price"]),
    "trigger_price": st.sampled_from([83000, 85000, 0]),
    "trigger_offset": st.sampled_from([10, -10, 0]),
    "time_in_force": st.sampled_from(["good_til_cancelled", "good_til_day", "immediate_or_cancel", "fill_or_kill"]),
    "order_id": st.sampled_from(["USDC-198150503746", "USDC-198150503747", "x"]),
    "label": st.sampled_from(["a", "b"]),
    "isolated": st.booleans(),
    "include_isolated": st.booleans(),
    "allocated_margin": st.sampled_from([50, 0, -1]),
    "post_only": st.booleans(),
    "reduce_only": st.booleans(),
    "linked_order_type": st.sampled_from(["one_triggers_other", "one_cancels_other"]),
    "otoco_config": st.just([{"direction": "sell", "type": "limit", "price": 85000, "amount": 0.01}]),
    "start_timestamp": st.sampled_from([0, 1_790_762_400_000, 10**16]),
    "end_timestamp": st.sampled_from([0, 1_790_762_400_000, 10**15]),
    "resolution": st.sampled_from(["1", "60", "1D", "7"]),
    "index_name": st.sampled_from(["btc_usdc", "x"]),
    "count": st.integers(-1, 2000),
    "leverage": st.sampled_from([None, 1, 50, 51, 0.5]),
    "subaccount_id": st.integers(0, 3),
    "detailed": st.booleans(),
    "with_continuation": st.booleans(),
    "historical": st.booleans(),
    "channels": st.lists(st.sampled_from([f"book.{BTC}.100ms", "user.changes.any.any.raw", "x.y"]), max_size=3),
    "valid_until": st.sampled_from([1, 10**15]),
    "interval": st.sampled_from([10, 1e300, -1]),
    "scope": st.sampled_from(["connection", "account"]),
    "depth": st.sampled_from([1, 5, 7]),
}
PARAMS = st.fixed_dictionaries({}, optional={name: likely | ODD for name, likely in LIKELY.items()})
KIND = st.fixed_dictionaries({"instrument_name": LIKELY["instrument_name"], "currency": LIKELY["currency"]})
TRIES = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def fresh() -> Trader:
    trader = new_trader()
    trader.venue.gateway.credits.enabled = False
    return trader


def check(answer: dict[str, Any]) -> None:
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        assert isinstance(answer["error"]["code"], int)
        assert answer["error"]["message"]


@TRIES
@given(st.lists(st.tuples(st.sampled_from(NAMES), PARAMS, KIND), min_size=1, max_size=12))
def test_every_method_survives_any_parameters(calls: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
    trader = fresh()
    socket = trader.open()
    for name, odd, usual in calls:
        body = {"jsonrpc": "2.0", "id": 1, "method": name, "params": usual | odd}
        headers = {"content-type": "application/json", "authorization": f"Bearer {trader.token}"}
        reply = trader.venue.http("POST", f"/api/v2/{name}", headers, json.dumps(body).encode())
        check(json.loads(reply.body))
        before = len(socket.frames)
        socket.take(socket.session.receive(json.dumps(body | {"id": 9}), trader.venue.wall_s))
        check(next(frame for frame in socket.frames[before:] if frame.get("id") == 9))
        if name in SESSION_METHODS:
            trader.venue.wait(0.2)
    trader.venue.exchange.check_identity(1)


@TRIES
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_frame_gets_an_answer(frame: bytes | str) -> None:
    trader = fresh()
    socket = trader.open()
    before = len(socket.frames)
    socket.take(socket.session.receive(frame, trader.venue.wall_s))
    check(socket.frames[before])


WORDS = [
    "user",
    "isolated",
    "orders",
    "changes",
    "any",
    "USDC",
    "raw",
    "100ms",
    "book",
    "none",
    "10",
    BTC,
    "chart",
    "x",
    "",
]


@TRIES
@given(st.lists(st.sampled_from(WORDS), max_size=6), st.sampled_from([None, 1]))
def test_any_channel_name_is_granted_or_left_out(words: list[str], account: int | None) -> None:
    trader = fresh()
    opened = open_stream(trader.venue.exchange, ".".join(words), account)
    if opened is not None:
        opened[0].take()
