"""Who may call: JWTs, tokens, scopes, credits."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perpctl.paper.gateway.access import Credits, pool_of
from perpctl.paper.gateway.rpc import RpcError
from perpctl.paper.keys import MAIN_ACCOUNT
from tests.paper.gateway.trader import BTC, Refused, Trader, new_trader, sign


def other_key(trader: Trader) -> dict[str, object]:
    return trader.venue.keys.add("es256", ("view",), MAIN_ACCOUNT, datetime(2026, 9, 1, tzinfo=UTC))


@pytest.mark.parametrize("algorithm", ["es256", "ed25519"])
def test_both_kinds_of_key_are_accepted(algorithm: str) -> None:
    trader = new_trader(algorithm=algorithm)
    assert trader.http("private/get_positions") == []


def test_an_http_token_has_the_members_of_the_documented_answer(trader: Trader) -> None:
    answer = trader.auth()
    assert answer["expires_in"] == 900
    assert answer["token_type"] == "bearer"
    assert answer["scope"] == "rat#view rat#trade"
    assert isinstance(answer["refresh_token"], str)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"sub": "somebody else"},
        {"iss": "coinbase"},
        {"iss": None},
        {"nbf": None},
        {"exp": None},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"header": {"kid": "unknown"}},
    ],
)
def test_a_jwt_with_a_wrong_claim_is_refused(trader: Trader, spoilt: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        trader.auth(**spoilt)
    assert (refused.value.code, refused.value.status) == (13004, 401)


def test_a_jwt_signed_by_another_key_is_refused(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.auth(signer=other_key(trader))
    assert refused.value.code == 13004


def test_a_jwt_of_another_algorithm_than_its_key_is_refused(trader: Trader) -> None:
    ed = trader.venue.keys.add("ed25519", ("view",), MAIN_ACCOUNT, datetime(2026, 9, 1, tzinfo=UTC))
    with pytest.raises(Refused) as refused:
        trader.auth(signer=ed)
    assert refused.value.code == 13004


@pytest.mark.parametrize("jwt_text", ["", "x", "a.b.c", "e30.e30.e30"])
def test_rubbish_is_not_a_jwt(trader: Trader, jwt_text: str) -> None:
    with pytest.raises(Refused) as refused:
        trader.exchange_jwt(jwt_text)
    assert refused.value.code == 13004


def test_uri_and_audience_are_ignored_and_the_older_issuer_is_welcome(trader: Trader) -> None:
    trader.auth(uri="POST elsewhere.example/x", aud=["anything"], iss="coinbase-cloud")
    assert trader.http("private/get_positions") == []


def test_no_token_and_a_wrong_token_have_codes_of_their_own(trader: Trader) -> None:
    with pytest.raises(Refused) as absent:
        trader.http("private/get_positions", token="")
    with pytest.raises(Refused) as wrong:
        trader.http("private/get_positions", token="nonsense")
    assert (absent.value.code, absent.value.status) == (10000, 401)
    assert (wrong.value.code, wrong.value.status) == (13009, 401)


def test_a_token_lives_900_seconds_of_wall_time(trader: Trader) -> None:
    trader.venue.wait(899)
    assert trader.http("private/get_positions") == []
    trader.venue.wait(2)
    with pytest.raises(Refused) as expired:
        trader.http("private/get_positions")
    assert (expired.value.code, expired.value.status) == (13009, 401)


def test_tokens_do_not_cross_to_sockets_and_sockets_have_none(trader: Trader) -> None:
    socket = trader.open(auth=False)
    with pytest.raises(Refused) as refused:
        socket.call("private/get_positions")
    assert refused.value.code == 13009
    answer = socket.auth()
    assert set(answer) == {"expires_in", "scope", "sid", "token_type"}
    assert answer["expires_in"] == 3000
    assert socket.call("private/get_positions") == []


def test_a_socket_must_sign_in_again_after_3000_seconds(trader: Trader) -> None:
    socket = trader.open()
    for _ in range(150):
        trader.venue.wait(20)
        socket.call("public/test")
    trader.venue.wait(5)
    with pytest.raises(Refused) as expired:
        socket.call("private/get_positions")
    assert expired.value.code == 13009
    socket.auth()
    assert socket.call("private/get_positions") == []


def test_a_view_key_reads_and_does_not_trade() -> None:
    trader = new_trader(permissions=("view",))
    assert trader.http("private/get_open_orders") == []
    for method in ("private/buy", "private/cancel_all", "private/set_leverage"):
        with pytest.raises(Refused) as refused:
            trader.http(method, instrument_name=BTC, amount=0.01, type="market", leverage=3)
        assert refused.value.code == 13021
    socket = trader.open()
    assert socket.call("private/get_cancel_on_disconnect")["enabled"] is False
    with pytest.raises(Refused):
        socket.call("private/enable_cancel_on_disconnect")


def test_a_trade_key_without_view_cannot_read() -> None:
    trader = new_trader(permissions=("trade",))
    with pytest.raises(Refused) as refused:
        trader.http("private/get_positions")
    assert refused.value.code == 13021
    assert trader.http("private/cancel_all") == 0


def test_a_flood_of_orders_gets_10028_and_ends_the_session(trader: Trader) -> None:
    for _ in range(20):
        trader.order()
    with pytest.raises(Refused) as flooded:
        trader.order()
    assert (flooded.value.code, flooded.value.status) == (10028, 429)
    with pytest.raises(Refused) as ended:
        trader.http("private/get_positions")
    assert ended.value.code == 13009


def test_a_flood_on_a_socket_closes_it_and_fires_its_cancel_on_disconnect(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/enable_cancel_on_disconnect")
    order = {"instrument_name": BTC, "amount": 0.01, "price": 83500, "post_only": True}
    for _ in range(20):
        socket.call("private/buy", **order)
    assert len(trader.http("private/get_open_orders")) == 20
    with pytest.raises(Refused) as flooded:
        socket.call("private/buy", **order)
    assert flooded.value.code == 10028
    assert socket.closes
    assert trader.http("private/get_open_orders") == []


def test_credits_come_back_with_time() -> None:
    credits = Credits()
    for _ in range(20):
        credits.spend("me", "matching", 100.0)
    with pytest.raises(RpcError):
        credits.spend("me", "matching", 100.1)
    credits.spend("me", "matching", 100.2)
    credits.spend("you", "matching", 100.0)


@pytest.mark.parametrize(
    ("method", "has_currency", "pool"),
    [
        ("private/buy", False, "matching"),
        ("private/close_position", False, "matching"),
        ("private/cancel", False, "matching"),
        ("private/cancel_by_label", True, "matching"),
        ("private/cancel_by_label", False, "cancel_all"),
        ("private/cancel_all_by_currency", True, "cancel_all"),
        ("public/get_instruments", True, "get_instruments"),
        ("public/get_instrument", False, "non_matching"),
        ("private/subscribe", False, "subscribe"),
        ("private/get_transaction_log", True, "transaction_log"),
        ("private/get_positions", False, "non_matching"),
    ],
)
def test_each_method_draws_on_its_pool(method: str, has_currency: bool, pool: str) -> None:
    assert pool_of(method, has_currency) == pool


def test_a_mass_cancel_still_goes_through_when_the_order_pool_is_empty(trader: Trader) -> None:
    for _ in range(20):
        trader.order()
    assert trader.http("private/cancel_all") == 20


def test_every_exchange_wants_a_grant_type_that_it_knows(trader: Trader) -> None:
    socket = trader.open(auth=False)
    with pytest.raises(Refused) as refused:
        socket.call("public/auth", grant_type="client_credentials", token=sign(trader.key, trader.venue.wall_s))
    assert refused.value.code == -32602
    assert refused.value.data["param"] == "grant_type"


def test_a_key_of_another_account_sees_nothing_of_the_first(trader: Trader) -> None:
    trader.fill()
    stranger = Trader(trader.venue, trader.venue.keys.add("es256", ("view",), 2, datetime(2026, 9, 1, tzinfo=UTC)))
    stranger.auth()
    assert stranger.http("private/get_positions") == []
    summary = stranger.http("private/get_account_summary", currency="USDC", extended=True)
    assert (summary["id"], summary["username"]) == (2, "paper2")
