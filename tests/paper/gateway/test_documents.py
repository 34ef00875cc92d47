"""The face beside the venue's documents: which methods there are, and by which names its refusals go."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from perpctl.paper.gateway.face import LACKING, METHODS, SOCKET_ONLY
from perpctl.paper.gateway.rpc import CODES
from perpctl.paper.terms import refusal
from tests.paper.gateway.trader import Refused, Trader

DOCUMENTS = Path(__file__).parents[3] / "../shared/coinbase/gateway"
EXTRA_WORDS = {"Invalid Request"}  # JSON-RPC's own name for -32600
HTTP_TOO = {"public/auth", "public/test"}


def document(name: str) -> str:
    path = DOCUMENTS / name
    if not path.exists():
        pytest.skip("../shared is absent")
    return path.read_text()


def listed() -> dict[str, str]:
    """Every method of the catalogue with its transport."""
    rows = re.findall(r"^\| `((?:private|public)/[a-z_/]+)`(?: ME)? \| ([A-Z, ]+) \|", document("METHODS.md"), re.M)
    return dict(rows)


def test_every_listed_method_is_served_or_said_to_be_lacking() -> None:
    found = listed()
    assert len(found) == 97
    assert {name for name in found if name not in METHODS | dict.fromkeys(LACKING | SOCKET_ONLY | HTTP_TOO)} == set()
    assert {name for name, transport in found.items() if transport == "WS"} == set(SOCKET_ONLY)
    assert LACKING & METHODS.keys() == set()


def test_what_the_native_venue_has_and_the_gateway_has_not_is_unknown_here(trader: Trader) -> None:
    native = json.loads(document("fixtures/doc-requests-by-method.json"))
    absent = sorted(set(native) - set(listed()) - LACKING)
    assert len(absent) > 45
    assert {"private/create_api_key", "private/mass_quote", "public/fork_token", "private/withdraw"} <= set(absent)
    for name in absent:
        with pytest.raises(Refused) as refused:
            trader.http(name)
        assert (refused.value.code, refused.value.message) == (-32601, "Method not found"), name


def test_what_only_this_exchange_lacks_says_so(trader: Trader) -> None:
    trader.venue.gateway.credits.enabled = False
    for name in sorted(LACKING):
        with pytest.raises(Refused) as refused:
            trader.http(name)
        assert (refused.value.code, refused.value.message) == (10033, "not_implemented"), name


def test_socket_methods_over_http_say_so(trader: Trader) -> None:
    for name in sorted(SOCKET_ONLY - {"public/subscribe", "public/unsubscribe", "public/unsubscribe_all"}):
        with pytest.raises(Refused) as refused:
            trader.http(name)
        assert refused.value.code == 10030, name


def test_every_code_goes_by_its_documented_name() -> None:
    documented = {row["code"]: str(row["name"]).partition(" <")[0] for row in json.loads(document("errors.json"))}
    ours = CODES | refusal.CODES | {"mmp_required": 13040}
    wrong = {
        name: (code, documented.get(code))
        for name, code in ours.items()
        if name not in EXTRA_WORDS and documented.get(code) not in (name, name.replace("_", " ").capitalize())
    }
    assert wrong == {}
