"""Who may call the US face and how often: JWTs for each request, scopes, portfolios, limits, faults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perpctl.paper.advanced_trade.access import AN_HOUR, PRIVATE_A_SECOND, PUBLIC_A_SECOND
from perpctl.paper.advanced_trade.face import PATHS, REST_PATH
from perpctl.paper.faults import Rule
from perpctl.paper.keys import MAIN_ACCOUNT
from tests.paper.advanced_trade.trader import BIP_ID, Refused, Trader
from tests.paper.gateway.trader import sign

PATH = f"{REST_PATH}/accounts"


def test_both_kinds_of_key_are_accepted(trader: Trader) -> None:
    assert trader.raw("GET", "/accounts").status == 200
    edwards = trader.other_key("view", account=MAIN_ACCOUNT, algorithm="ed25519")
    assert trader.raw("GET", "/accounts", key=edwards).status == 200


@pytest.mark.parametrize(
    "uri",
    [f"GET api.coinbase.com{PATH}", f"GET 127.0.0.1:9{PATH}"],
    ids=["the venue's host", "the host that was asked"],
)
def test_the_uri_names_the_venue_or_the_host_asked(trader: Trader, uri: str) -> None:
    assert trader.raw("GET", "/accounts", uri=uri).status == 200


def test_the_uri_has_no_query(trader: Trader) -> None:
    assert trader.raw("GET", "/accounts", query={"limit": 5}).status == 200
    assert trader.raw("GET", "/accounts", query={"limit": 5}, uri=f"GET api.coinbase.com{PATH}?limit=5").status == 401


SPOILT: list[dict[str, Any]] = [
    {"uri": f"POST api.coinbase.com{PATH}"},
    {"uri": f"GET api.coinbase.com{REST_PATH}/orders"},
    {"uri": f"GET evil.example{PATH}"},
    {"uri": None},
    {"sub": "somebody else"},
    {"sub": None},
    {"iss": "somebody else"},
    {"exp": 1},
    {"nbf": 10**10, "exp": 10**10 + 120},
    {"header": {"kid": "unknown"}},
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=str)
def test_whatever_is_wrong_with_a_jwt_the_answer_is_the_same_bare_text(trader: Trader, spoilt: dict[str, Any]) -> None:
    reply = trader.raw("GET", "/accounts", **spoilt)
    assert (reply.status, reply.body) == (401, b"Unauthorized\n")
    assert reply.headers["content-type"].startswith("text/plain")


def test_a_signature_of_another_key_is_refused(trader: Trader) -> None:
    other = trader.other_key("view")
    assert trader.raw("GET", "/accounts", signer=other).status == 401
    assert trader.raw("GET", "/accounts", headers={"authorization": ""}).status == 401
    assert trader.raw("GET", "/accounts", headers={"authorization": "Bearer x.y.z"}).status == 401


def test_a_jwt_is_good_for_one_path_and_two_minutes(trader: Trader) -> None:
    token = sign(trader.key, trader.wall_s, uri=f"GET api.coinbase.com{PATH}")
    headers = {"host": "x", "authorization": f"Bearer {token}"}

    def status(path: str) -> int:
        return trader.face.handle_http("GET", path, headers, b"", trader.wall_s).status

    assert status(PATH) == 200
    assert status(f"{REST_PATH}/portfolios") == 401
    trader.ahead_s += 130
    assert status(PATH) == 401


def test_public_paths_need_no_key_and_their_twins_do(trader: Trader) -> None:
    for path, offered in PATHS.items():
        for verb, (scope, _) in offered.items():
            target = REST_PATH + path.replace("{id}", BIP_ID)
            reply = trader.face.handle_http(verb, target, {"host": "x"}, b"{}", trader.wall_s)
            assert (reply.status == 401) == (scope is not None), (verb, path, reply)


@pytest.mark.parametrize(("path", "offered"), PATHS.items(), ids=PATHS)
def test_a_key_without_the_scope_is_forbidden_everything_that_needs_it(
    trader: Trader, path: str, offered: dict[str, Any]
) -> None:
    for verb, (scope, _) in offered.items():
        if scope is None:
            continue
        others = [one for one in ("view", "trade", "transfer") if one != scope]
        key = trader.other_key(*others, account=MAIN_ACCOUNT)
        reply = trader.raw(verb, path.replace("{id}", "x"), b"{}", key=key)
        assert reply.status == 403
        assert json.loads(reply.body)["error_details"] == "Missing required scopes"


def test_key_permissions_tell_scopes_and_portfolio(trader: Trader) -> None:
    key = trader.other_key("view")
    mine, theirs = trader.get("/key_permissions"), json.loads(trader.raw("GET", "/key_permissions", key=key).body)
    assert (mine["can_view"], mine["can_trade"], mine["can_transfer"]) == (True, True, True)
    assert (theirs["can_view"], theirs["can_trade"], theirs["can_transfer"]) == (True, False, False)
    assert mine["portfolio_uuid"] != theirs["portfolio_uuid"]
    assert (mine["portfolio_type"], theirs["portfolio_type"]) == ("DEFAULT", "CONSUMER")


def test_a_key_of_another_portfolio_sees_and_touches_nothing_of_this_one(trader: Trader) -> None:
    order_id = trader.limit("BUY", 1, "83000")
    mine = trader.get("/portfolios")["portfolios"][0]["uuid"]
    trader.key = trader.other_key("view", "trade")
    assert trader.listed() == []
    assert trader.cancel(order_id)[0]["failure_reason"] == "UNKNOWN_CANCEL_ORDER"
    with pytest.raises(Refused, match="404"):
        trader.shown(order_id)
    for wrong in (lambda: trader.get(f"/portfolios/{mine}"), lambda: trader.order("BUY", 1, retail_portfolio_id=mine)):
        with pytest.raises(Refused, match="403"):
            wrong()


@pytest.mark.parametrize(
    "path", ["/intx/positions/x", "/intx/portfolio/x", "/intx/balances/x", "/intx/allocate", "/intx/positions/x/y"]
)
def test_the_retired_paths_say_that_they_are(trader: Trader, path: str) -> None:
    reply = trader.raw("GET", path)
    assert reply.status == 404
    assert "retired on 1 October 2026" in json.loads(reply.body)["message"]


def test_other_paths_and_verbs_are_not_there(trader: Trader) -> None:
    assert trader.raw("GET", "/nothing").status == 404
    assert trader.raw("GET", "/orders").status == 405
    assert trader.raw("DELETE", "/portfolios/x").status == 405


def test_private_requests_are_counted_by_second_and_the_headers_say_what_is_left(trader: Trader) -> None:
    trader.face.limits.enabled = True
    replies = [trader.raw("GET", "/accounts") for _ in range(PRIVATE_A_SECOND + 1)]
    assert [reply.status for reply in replies] == [200] * PRIVATE_A_SECOND + [429]
    left = [reply.headers["x-ratelimit-remaining"] for reply in replies]
    assert left[:3] == [str(PRIVATE_A_SECOND - n) for n in (1, 2, 3)]
    assert replies[-1].headers["x-ratelimit-limit"] == str(PRIVATE_A_SECOND)
    assert "retry-after" not in replies[-1].headers
    assert trader.raw("GET", "/accounts", key=trader.other_key("view")).status == 200  # another key's own count
    trader.ahead_s += 1
    assert trader.raw("GET", "/accounts").status == 200


def test_public_requests_are_counted_by_address(trader: Trader) -> None:
    trader.face.limits.enabled = True

    def status(peer: str) -> int:
        return trader.face.handle_http("GET", f"{REST_PATH}/time", {}, b"", trader.wall_s, peer).status

    assert [status("a") for _ in range(PUBLIC_A_SECOND + 1)][-1] == 429
    assert status("b") == 200


def test_an_hour_has_its_own_limit(trader: Trader) -> None:
    limits = trader.face.limits
    limits.enabled = True
    for second in range(AN_HOUR // 25):
        for _ in range(25):
            limits.spend("key x", True, float(second))
    with pytest.raises(Exception, match="429"):
        limits.spend("key x", True, AN_HOUR / 25)
    limits.spend("key x", True, 3601.0)


def test_faults_act_by_verb_and_path(trader: Trader) -> None:
    faults = trader.face.faults
    faults.add(Rule("http_status", method=f"GET {REST_PATH}/acc*", status=502, body="<html>"))
    assert trader.raw("GET", "/portfolios").status == 200
    assert (trader.raw("GET", "/accounts").status, trader.last.body) == (502, b"<html>")
    assert trader.raw("GET", "/accounts").status == 200
    faults.add(Rule("error", method="*", message="boom"))
    assert (trader.raw("GET", "/accounts").status, json.loads(trader.last.body)["message"]) == (500, "boom")
    faults.add(Rule("expired_token", method="*"))
    assert trader.raw("GET", "/accounts").status == 401


def test_a_lost_answer_hides_an_order_that_exists_and_its_id_finds_it(trader: Trader) -> None:
    trader.face.faults.add(Rule("drop_after", method=f"POST {REST_PATH}/orders"))
    body = {
        "client_order_id": "lost",
        "product_id": BIP_ID,
        "side": "BUY",
        "order_configuration": {"market_market_ioc": {"base_size": "2"}},
    }
    assert trader.raw("POST", "/orders", json.dumps(body).encode()).cut
    assert trader.position() == 2
    again = trader.post("/orders", **body)
    assert (again["success"], trader.position()) == (True, 2)
    trader.face.faults.add(Rule("drop_before", method=f"POST {REST_PATH}/orders"))
    body["client_order_id"] = "never came"
    assert trader.raw("POST", "/orders", json.dumps(body).encode()).cut
    assert trader.position() == 2


def test_a_client_order_id_is_a_portfolios_own(trader: Trader) -> None:
    trader.order("BUY", 1, client_order_id="same")
    trader.key = trader.other_key("view", "trade")
    first = trader.order("BUY", 2, client_order_id="same")
    assert trader.order("BUY", 3, client_order_id="same")["order_id"] == first["order_id"]
    assert [row["filled_size"] for row in trader.listed()] == ["2"]
    assert trader.position() == 1  # the first portfolio's
