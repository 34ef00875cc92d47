"""How long each class of call may take and how often it is repeated: the table that operators are promised."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.clock import ManualClock
from perpctl.errors import PerpctlError
from perpctl.exchange.access import Access
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.http import HttpReply, NoAnswer, NotSent
from perpctl.exchange.transport import Wire
from tests.exchange.gateway.venue import START, START_MS, order_row, request, write_key

Ask = Callable[[Gateway], Awaitable[Any]]


class Deaf:
    """A way to a venue that signs us in, tells the time, and answers nothing else."""

    is_remote = True

    def __init__(self, silent: str) -> None:
        self.silent = silent
        self.deadlines: dict[str, float] = {}
        self.calls: Counter[str] = Counter()

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        method = url.partition("/api/v2/")[2]
        self.calls[method] += 1
        self.deadlines[method] = deadline_s
        if method == self.silent or method not in _ANSWERS:
            raise NoAnswer(f"no whole answer within {deadline_s:g} s")
        call_id = body.partition(b'"id":')[2].partition(b",")[0].decode()
        return HttpReply(200, b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (call_id.encode(), _ANSWERS[method]))

    async def start_over(self) -> None:
        return

    async def connect(self, url: str, deadline_s: float) -> Wire:
        self.calls["connect"] += 1
        self.deadlines["connect"] = deadline_s
        raise NotSent("nobody is there")

    async def aclose(self) -> None:
        return


_ANSWERS = {
    "public/auth": b'{"access_token":"T","expires_in":900}',
    "public/get_time": b"%d" % START_MS,
    "private/get_subaccounts": b'[{"id":1,"username":"x"}]',
}


class Patient(ManualClock):
    """Remembers how long it was asked to sleep."""

    def __init__(self) -> None:
        super().__init__(START)
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await super().sleep(seconds)


async def _cancel(gateway: Gateway) -> Any:
    from perpctl.exchange.gateway import wire

    return await gateway.cancel([wire.order(json.loads(json.dumps(order_row()), parse_float=Decimal))])


WRITES = ("private/buy", "private/cancel", "private/cancel_all_by_currency")  # they answer Unknown, and raise nothing
# method that stays silent, how it is asked, deadline of one attempt, repeats, longest first pause
TABLE: dict[str, tuple[str, Ask, float, int, float]] = {
    "create order": ("private/buy", lambda g: g.place(request()), 5, 0, 0),
    "cancel": ("private/cancel", _cancel, 3, 5, 0.25),
    "mass cancel": ("private/cancel_all_by_currency", lambda g: g.cancel_entries(), 3, 0, 0),
    "single read": ("public/ticker", lambda g: g.quote("BTC_USDC-PERPETUAL"), 5, 3, 0.2),
    "positions": ("private/get_positions", lambda g: g.positions(), 5, 3, 0.2),
    "a page of a listing": ("private/get_open_orders", lambda g: g.open_orders(), 10, 3, 0.2),
    "a page of fills": (
        "private/get_user_trades_by_currency_and_time",
        lambda g: g.fills(START_MS - 1000),
        10,
        3,
        0.2,
    ),
    "ledger": ("private/get_transaction_log", lambda g: g.funding_payments(START_MS - 1000), 30, 3, 1.0),
    "orders of the past": (
        "private/get_order_history_by_currency",
        lambda g: g.order_history(START_MS - 1000),
        30,
        3,
        1.0,
    ),
    "time": ("public/get_time", lambda g: g.time_ms(), 3, 2, 0.2),
    "sign-in": ("public/auth", lambda g: g.positions(), 3, 2, 0.2),
}


@pytest.mark.parametrize("name", TABLE)
async def test_a_call_has_its_deadline_and_its_repeats_and_no_more(tmp_path: Path, name: str) -> None:
    method, ask, deadline_s, repeats, pause_s = TABLE[name]
    transport, clock = Deaf(method), Patient()
    gateway = open_gateway(Access(key_file=write_key(tmp_path)), clock, transport=transport)
    said: list[str] = []
    try:
        await ask(gateway)
    except PerpctlError as why:
        said.append(why.message)
    assert all(method in message for message in said)  # what was not answered
    assert bool(said) is (method not in WRITES)
    assert (transport.deadlines[method], transport.calls[method]) == (deadline_s, 1 + repeats)
    pauses = [pause for pause in clock.pauses if pause > 0] if repeats else []
    assert len(pauses) <= repeats
    assert all(pause <= pause_s * 2**place for place, pause in enumerate(pauses))
    await gateway.aclose()


async def test_a_socket_has_five_seconds_to_come_up(tmp_path: Path) -> None:
    transport = Deaf("nothing")
    gateway = open_gateway(Access(key_file=write_key(tmp_path)), Patient(), transport=transport)
    with pytest.raises(PerpctlError):
        async with gateway.session(["BTC-PERP"]):
            pass
    assert transport.deadlines.get("connect", 5) == 5
    await gateway.aclose()
