"""Every error code that the venue documents: what it proves of a read and of an order."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from perpctl.clock import ManualClock
from perpctl.errors import CredentialError, PerpctlError, Throttled, VenueRefused, VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.gateway.errors import Kind, kind_of
from perpctl.exchange.port import Refused, Unknown
from tests.exchange.gateway.venue import START, START_MS, request, write_key

HOST = "https://drb.coinbase.com/api/v2"
DOCUMENT = Path(__file__).parents[2] / "../shared/coinbase/gateway/errors.json"
CODES = json.loads(DOCUMENT.read_text()) if DOCUMENT.exists() else []
BY_CLASS: dict[str, tuple[Kind, type[PerpctlError]]] = {
    "throttle": (Kind.THROTTLED, Throttled),
    "retry-not-executed": (Kind.NOT_EXECUTED, VenueUnreachable),
    "maintenance": (Kind.MAINTENANCE, VenueUnreachable),
    "UNKNOWN-OUTCOME for writes": (Kind.UNCERTAIN, VenueUnreachable),
}
SIGN_IN = {10000, 13004, 13009}
SOCKET_ONLY = 10030  # listed among "auth", and is none: the method is for the other transport


def expected(row: dict[str, Any]) -> tuple[Kind, type[PerpctlError]]:
    if row["class"] == "auth" and row["code"] != SOCKET_ONLY:
        return (Kind.UNAUTHORIZED if row["code"] in SIGN_IN else Kind.FORBIDDEN), CredentialError
    return BY_CLASS.get(row["class"], (Kind.REFUSED, VenueRefused))


def test_the_document_is_whole_when_it_is_there() -> None:
    if not CODES:
        pytest.skip("../shared is absent")
    assert len(CODES) == 161
    assert {row["class"] for row in CODES} >= BY_CLASS.keys()


@pytest.fixture
def host() -> Any:
    with respx.mock(base_url=HOST, assert_all_called=False) as router:
        router.post("/public/auth").mock(side_effect=lambda sent: _said(sent, {"access_token": "T", "expires_in": 900}))
        router.post("/public/get_time").mock(side_effect=lambda sent: _said(sent, START_MS))
        yield router


def _said(sent: httpx.Request, result: Any = None, error: Any = None) -> httpx.Response:
    body = {"jsonrpc": "2.0", "id": json.loads(sent.content)["id"]}
    return httpx.Response(200, json={**body, **({"result": result} if error is None else {"error": error})})


@pytest.fixture
async def gateway(host: Any, tmp_path: Path) -> AsyncIterator[Gateway]:
    client = open_gateway(Access(key_file=write_key(tmp_path)), ManualClock(START))
    yield client
    await client.aclose()


@pytest.mark.parametrize("row", CODES, ids=lambda row: f"{row['code']}")
async def test_a_documented_code_becomes_the_error_of_its_class(
    gateway: Gateway, host: Any, row: dict[str, Any]
) -> None:
    kind, error = expected(row)
    assert kind_of(row["code"]) is kind
    said = {"code": row["code"], "message": str(row["name"])}
    host.post("/private/get_open_orders").mock(side_effect=lambda sent: _said(sent, error=said))
    with pytest.raises(error) as told:
        await gateway.open_orders()
    assert type(told.value) is error
    assert str(row["code"]) in told.value.message
    assert told.value.not_done


@pytest.mark.parametrize("row", CODES, ids=lambda row: f"{row['code']}")
async def test_a_documented_code_proves_of_an_order_what_its_class_says_and_it_goes_once(
    gateway: Gateway, host: Any, row: dict[str, Any]
) -> None:
    said = {"code": row["code"], "message": str(row["name"])}
    route = host.post("/private/buy").mock(side_effect=lambda sent: _said(sent, error=said))
    outcome = await gateway.place(request())
    kind, _ = expected(row)
    assert isinstance(outcome, Unknown if kind is Kind.UNCERTAIN else Refused)
    if isinstance(outcome, Refused):
        assert (outcome.code, outcome.sent) == (row["code"], True)
    signs_in_again = kind is Kind.UNAUTHORIZED or row["code"] == 11056
    assert route.call_count == (2 if signs_in_again else 1)
