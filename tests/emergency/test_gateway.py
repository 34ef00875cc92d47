"""Rows are read exactly or not at all; refusals, lost answers and wrong accounts are kept apart."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.emergency.target import Pin
from perpctl.emergency.venue.document import number, row_of, rows_of
from perpctl.emergency.venue.gateway.client import Gateway, encode
from perpctl.emergency.venue.gateway.rows import read_order, read_owner, read_position, read_ticker
from perpctl.emergency.venue.port import Said
from perpctl.emergency.venue.wire import NoAnswer, Wire
from perpctl.errors import AccountMismatch, CredentialError
from perpctl.model.order import OrderStatus, OrderType, Side
from perpctl.paper.keys import KeyRing
from tests.emergency.peer import Peer, peer, whole

FIXTURES = Path(__file__).parents[2] / "../shared/coinbase/gateway/fixtures"
POSITION: dict[str, Any] = {
    "instrument_name": "BTC_USDC-PERPETUAL",
    "direction": "sell",
    "size": Decimal("-8400.0"),
    "size_currency": Decimal("-0.1"),
    "mark_price": Decimal(84_000),
    "delta": Decimal("-0.1"),
}
ORDER: dict[str, Any] = {
    "order_id": "USDC-1",
    "instrument_name": "BTC_USDC-PERPETUAL",
    "direction": "buy",
    "order_type": "limit",
    "order_state": "open",
    "amount": Decimal("0.1"),
    "price": Decimal("84000.1"),
    "label": "",
}
OWNER = {
    "id": 104821,
    "username": "desk",
    "summaries": [
        {
            "currency": currency,
            "equity": 100,
            "initial_margin": margin,
            "maintenance_margin": 0,
            "margin_balance": 100,
            "balance": 100,
        }
        for currency, margin in (("USDC", 0), ("BTC", 0))
    ],
}


# --- rows


def test_a_position_is_its_base_coin_with_the_sign_of_its_direction() -> None:
    position = read_position(POSITION)
    assert (position.size, position.units_agree, position.slot) == (Decimal("-0.1"), True, None)


@pytest.mark.parametrize(
    "change",
    [
        {"size": Decimal("-0.1")},  # base coin where notional belongs
        {"size_currency": None},
        {"mark_price": None},
        {"delta": Decimal("0.2")},
        {"size_currency": Decimal("0.1")},  # against its direction
        {"instrument_name": "BTC-PERPETUAL"},  # inverse: sizes are dollars
    ],
)
def test_a_position_whose_members_disagree_is_never_sized_from(change: dict[str, Any]) -> None:
    position = read_position({**POSITION, **change})
    assert not position.units_agree
    assert position.size < 0


def test_what_the_engine_turned_into_a_limit_order_counts_as_what_was_asked() -> None:
    order = read_order({**ORDER, "original_order_type": "market", "order_state": "surprising", "price": "market_price"})
    assert (order.type, order.status, order.price) == (OrderType.MARKET, OrderStatus.UNKNOWN, None)
    assert not order.status.is_terminal


def test_an_isolated_order_belongs_to_its_slot() -> None:
    assert read_order({**ORDER, "isolated": True, "user_id": 123456}).slot == 123456
    assert read_order({**ORDER, "isolated": False, "user_id": 1000}).slot is None


def test_one_bad_row_spoils_the_listing() -> None:
    assert len(rows_of([ORDER, ORDER], read_order)) == 2
    for bad in ({}, None, "x", {**ORDER, "direction": "sideways"}, {**ORDER, "amount": Decimal("NaN")}):
        with pytest.raises(NoAnswer):
            rows_of([ORDER, bad], read_order)
    for nothing in (None, {}, "", 0):
        with pytest.raises(NoAnswer):
            rows_of(nothing, read_order)


def test_numbers_are_finite_and_no_booleans() -> None:
    for bad in (True, "1", None, Decimal("Infinity"), 1.5):
        with pytest.raises(ValueError, match="not a number"):
            number(bad)


def test_margin_in_any_currency_counts_as_in_use() -> None:
    used = {**OWNER, "summaries": [*OWNER["summaries"], {**OWNER["summaries"][1], "initial_margin": 1}]}  # type: ignore[misc,index,dict-item]
    assert read_owner(OWNER).initial_margin == 0
    assert read_owner(used).initial_margin == 1
    with pytest.raises(NoAnswer):
        row_of({**OWNER, "summaries": []}, read_owner)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("gw-real-ticker-20260930", read_ticker),
        ("gw-doc-get-open-orders", read_order),
        ("gw-doc-get-positions", read_position),
    ],
)
def test_captured_documents_are_read(name: str, read: Any) -> None:
    if not FIXTURES.exists():
        pytest.skip("../shared is absent")
    result = json.loads((FIXTURES / f"{name}.json").read_text(), parse_float=Decimal)["result"]
    assert [row_of(row, read) for row in (result if isinstance(result, list) else [result])]


def test_sides_are_ours() -> None:
    assert read_order(ORDER).side is Side.BUY


# --- calls


def test_decimals_go_out_in_full() -> None:
    sent = encode({"amount": Decimal("1E-7"), "price": Decimal("84000.10"), "x": [True, None, 1, 'a"b']})
    assert sent == '{"amount":0.0000001,"price":84000.10,"x":[true,null,1,"a\\"b"]}'


class Script:
    """Answers by method name: a result, or an error as (code, message), or raw bytes; the last one repeats."""

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers

    def __call__(self, connection: socket.socket, request: bytes) -> None:
        name = request.split(b" ", 2)[1].decode().rsplit("/", 1)[1]
        found = self.answers[name]
        answer = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(answer, bytes):
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_RDWR)
        elif isinstance(answer, tuple):
            error = {"code": answer[0], "message": answer[1]}
            connection.sendall(whole(json.dumps({"jsonrpc": "2.0", "error": error}).encode(), 400))
        else:
            connection.sendall(whole(json.dumps({"jsonrpc": "2.0", "result": answer}).encode()))


TOKEN = {"access_token": "t", "expires_in": 900}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    KeyRing(tmp_path).create("es256", tmp_path / "key.json", ("view", "trade"), 1, datetime(2026, 11, 23, tzinfo=UTC))
    return tmp_path / "key.json"


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    opened: list[Wire] = []
    yield opened
    for wire in opened:
        wire.hang_up()


def enter(there: Peer, wires: list[Wire], keys: list[Path], pin: Pin | None = None) -> Gateway:
    wires.append(Wire(there.url))
    gateway = Gateway(wires[0], keys, pin)
    gateway.enter()
    return gateway


def test_a_refused_token_is_exchanged_once_and_the_call_repeated(key_file: Path, wires: list[Wire]) -> None:
    script = Script(auth=[TOKEN], get_account_summaries=[OWNER], get_open_orders=[(13009, "unauthorized"), []])
    with peer(script) as there:
        assert enter(there, wires, [key_file]).open_orders() == ()
        assert sum(b"public/auth" in request for request in there.requests) == 2


def test_an_account_that_is_not_the_pinned_one_is_refused(key_file: Path, wires: list[Wire]) -> None:
    with peer(Script(auth=[TOKEN], get_account_summaries=[OWNER])) as there:
        with pytest.raises(AccountMismatch, match="104821"):
            enter(there, wires, [key_file], Pin("7", None))
        assert enter(there, wires, [key_file], Pin("104821", "desk")).owner is not None
        with pytest.raises(AccountMismatch):
            enter(there, wires, [key_file], Pin("104821", "another"))


def test_the_next_key_is_tried_when_one_is_refused(key_file: Path, wires: list[Wire], tmp_path: Path) -> None:
    script = Script(
        auth=[(13004, "invalid_credentials"), (13004, "invalid_credentials"), TOKEN], get_account_summaries=[OWNER]
    )
    with peer(script) as there:
        second = tmp_path / "second.json"
        second.write_bytes(key_file.read_bytes())
        assert enter(there, wires, [tmp_path / "absent.json", key_file, second]).key_file == second


def test_without_any_key_it_is_said(wires: list[Wire]) -> None:
    with peer(Script()) as there, pytest.raises(CredentialError, match="no key file"):
        enter(there, wires, [])


@pytest.mark.parametrize(
    "answer",
    [
        (11094, "internal_server_error"),
        (-32603, "internal error"),
        whole(b"<html>", 200),
        whole(b"null"),
        whole(b"[]"),
        whole(b"{}", 502),
        whole(b'{"result": []}', 503),
        b"",
        whole(b"[" * 100_000),
    ],
)
def test_an_outcome_that_is_not_known_is_no_answer(key_file: Path, wires: list[Wire], answer: Any) -> None:
    script = Script(auth=[TOKEN], get_account_summaries=[OWNER], get_open_orders=[answer])
    with peer(script) as there:
        gateway = enter(there, wires, [key_file])
        with pytest.raises(NoAnswer):
            gateway.open_orders()


def test_a_refusal_is_told_with_its_code_and_a_throttle_hangs_up(key_file: Path, wires: list[Wire]) -> None:
    script = Script(auth=[TOKEN], get_account_summaries=[OWNER], get_open_orders=[(10028, "too_many_requests"), []])
    with peer(script) as there:
        gateway = enter(there, wires, [key_file])
        with pytest.raises(Said) as caught:
            gateway.open_orders()
        assert caught.value.throttled
        assert gateway.open_orders() == ()
        assert there.connections == 2


def test_the_signature_follows_the_venues_clock(key_file: Path, wires: list[Wire]) -> None:
    import base64

    date = "Date: Mon, 23 Nov 2037 09:22:12 GMT"
    refusal = whole(b'{"error": {"code": 13004, "message": "invalid_credentials"}}', 401, date)
    sent: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        if b"public/auth" in request:
            sent.append(request)
        result = {"result": TOKEN if b"public/auth" in request else OWNER}
        connection.sendall(
            refusal if len(sent) == 1 and b"public/auth" in request else whole(json.dumps(result).encode(), 200, date)
        )

    with peer(answer) as there:
        enter(there, wires, [key_file])
    token = json.loads(sent[1].split(b"\r\n\r\n")[1])["params"]["token"]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert abs(claims["nbf"] - datetime(2037, 11, 23, 9, 22, 12, tzinfo=UTC).timestamp()) < 5
