"""What is said of an order when HTTP misbehaves: confirmed, refused or unknown, and never sent twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from perpctl.clock import ManualClock
from perpctl.errors import CredentialError, VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.gateway import orders
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.port import Confirmed, Outcome, Refused, Unknown
from tests.exchange.gateway.venue import START, START_MS, order_row, request, trade_row, write_key

HOST = "https://drb.coinbase.com/api/v2"
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"
Reply = Callable[[httpx.Request], httpx.Response]


def answer(sent: httpx.Request, result: Any = None, error: Any = None, status: int = 200) -> httpx.Response:
    head = {"jsonrpc": "2.0", "id": json.loads(sent.content)["id"]}
    body = {**head, "error": error} if error is not None else {**head, "result": result}
    return httpx.Response(status, json=body)


def refusing(code: int, status: int = 200) -> Reply:
    return lambda sent: answer(sent, error={"code": code, "message": f"code {code}"}, status=status)


def raising(error: type[httpx.TransportError]) -> Reply:
    def reply(sent: httpx.Request) -> httpx.Response:
        raise error("simulated", request=sent)

    return reply


def raw(body: bytes, status: int = 200, **headers: str) -> Reply:
    return lambda sent: httpx.Response(status, content=body, headers=headers)


def taken(sent: httpx.Request) -> httpx.Response:
    """The answer to an order that was taken."""
    return answer(sent, {"order": order_row(), "trades": []})


@pytest.fixture
def host() -> Any:
    with respx.mock(base_url=HOST, assert_all_called=False) as router:
        grant = {"access_token": "T", "expires_in": 900}
        router.post("/public/auth").mock(side_effect=lambda sent: answer(sent, grant))
        router.post("/public/get_time").mock(side_effect=lambda sent: answer(sent, START_MS))
        yield router


@pytest.fixture
async def gateway(host: Any, tmp_path: Path) -> AsyncIterator[Gateway]:
    client = open_gateway(Access(key_file=write_key(tmp_path)), ManualClock(START))
    yield client
    await client.aclose()


async def place(gateway: Gateway, host: Any, reply: Reply) -> tuple[Outcome, int]:
    route = host.post("/private/buy").mock(side_effect=reply)
    outcome = await gateway.place(request())
    return outcome, route.call_count


async def test_an_order_that_was_taken_is_confirmed_with_its_fills(gateway: Gateway, host: Any) -> None:
    row = order_row(filled_amount=0.01, order_state="filled", average_price=80000.5)
    outcome, sent = await place(gateway, host, lambda call: answer(call, {"order": row, "trades": [trade_row(1)]}))
    assert isinstance(outcome, Confirmed)
    assert (outcome.order.order_id, [fill.trade_id for fill in outcome.fills], sent) == ("USDC-1", ["USDC-1"], 1)


async def test_what_goes_out_says_everything_that_matters_in_plain_numbers(gateway: Gateway, host: Any) -> None:
    route = host.post("/private/buy").mock(side_effect=lambda call: answer(call, {"order": order_row(), "trades": []}))
    await gateway.place(request())
    (call,) = route.calls
    body = json.loads(call.request.content)
    assert body["params"] == {
        "instrument_name": "BTC_USDC-PERPETUAL",
        "amount": 0.01,
        "type": "limit",
        "label": "L-1",
        "price": 80000.5,
        "time_in_force": "good_til_cancelled",
        "post_only": False,
        "reduce_only": False,
        "valid_until": START_MS + 3000,
    }
    assert call.request.headers["authorization"] == "Bearer T"


UNKNOWN: dict[str, Reply] = {
    "answer never came": raising(httpx.ReadTimeout),
    "connection reset while waiting": raising(httpx.ReadError),
    "connection reset while sending": raising(httpx.WriteError),
    "server hung up": raising(httpx.RemoteProtocolError),
    "500": raw(b"oops", 500),
    "502 page": raw(HTML, 502),
    "503 empty": raw(b"", 503),
    "504": raw(b"", 504),
    "200 page": raw(HTML),
    "403 page": raw(HTML, 403),
    "empty": raw(b""),
    "null": raw(b"null"),
    "array": raw(b"[]"),
    "cut off": raw(b'{"jsonrpc":"2.0","id":1,"result":{"ord'),
    "not a number": raw(b'{"jsonrpc":"2.0","id":1,"result":NaN}'),
    "very deep": raw(b"[" * 100_000),
    "very long": lambda sent: httpx.Response(200, content=taken(sent).content + b" " * (5 * 1024 * 1024)),
    "compressed": raw(b"", **{"content-encoding": "gzip"}),
    "neither result nor error": raw(b'{"jsonrpc":"2.0","id":1}'),
    "redirect": raw(b"", 302, location="https://elsewhere.example/api/v2/private/buy"),
    "another call's answer": lambda sent: httpx.Response(200, json={**taken(sent).json(), "id": 987654}),
    "another order": lambda sent: answer(sent, {"order": order_row(label="L-2"), "trades": []}),
    "a larger order": lambda sent: answer(sent, {"order": order_row(amount=0.1), "trades": []}),
    "the other side": lambda sent: answer(sent, {"order": order_row(direction="sell"), "trades": []}),
    "an infinite price": lambda sent: answer(sent, {"order": order_row(price="Infinity"), "trades": []}),
    "an absurd price": lambda sent: answer(sent, {"order": order_row(price="1e999"), "trades": []}),
    "no order": lambda sent: answer(sent, {"trades": []}),
    "10001 error": refusing(10001),
    "11094 internal": refusing(11094),
    "13028 unavailable": refusing(13028),
    "-32603 internal": refusing(-32603),
    "a code from nowhere": refusing(777),
}


@pytest.mark.parametrize("fault", UNKNOWN)
async def test_what_is_no_clear_answer_is_unknown_and_the_order_went_once(
    gateway: Gateway, host: Any, fault: str
) -> None:
    outcome, sent = await place(gateway, host, UNKNOWN[fault])
    assert isinstance(outcome, Unknown), outcome
    assert outcome.valid_until_ms == START_MS + 3000
    assert sent == 1


REFUSED: dict[str, tuple[Reply, int]] = {
    "no funds": (refusing(10009, 400), 10009),
    "throttled": (refusing(10028, 429), 10028),
    "throttled by the edge": (raw(HTML, 429), 429),
    "settlement": (refusing(10041), 10041),
    "too late": (refusing(13888), 13888),
    "maintenance": (refusing(11051, 503), 11051),
    "not allowed": (refusing(13021, 403), 13021),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_the_venue_says_it_did_not_execute_is_refused(gateway: Gateway, host: Any, case: str) -> None:
    reply, code = REFUSED[case]
    outcome, sent = await place(gateway, host, reply)
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.sent, sent) == (code, True, 1)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
async def test_an_order_that_never_left_is_refused_and_says_that_it_was_not_sent(
    gateway: Gateway, host: Any, error: type[httpx.TransportError]
) -> None:
    outcome, _ = await place(gateway, host, raising(error))
    assert isinstance(outcome, Refused)
    assert (outcome.code, outcome.sent) == (None, False)


async def test_an_order_is_not_sent_while_the_venue_cannot_tell_the_time(gateway: Gateway, host: Any) -> None:
    host.post("/public/get_time").mock(side_effect=raising(httpx.ReadTimeout))
    route = host.post("/private/buy")
    outcome = await gateway.place(request())
    assert outcome == Refused(None, "not sent: public/get_time: the connection broke: simulated", sent=False)
    assert not route.called


async def test_an_order_refused_for_a_lapsed_token_goes_again_once_and_no_more(gateway: Gateway, host: Any) -> None:
    outcome, sent = await place(gateway, host, refusing(13009, 401))
    assert isinstance(outcome, Refused)
    assert (outcome.code, sent) == (13009, 2)


async def test_an_unauthorized_page_is_no_reason_to_send_again(gateway: Gateway, host: Any) -> None:
    outcome, sent = await place(gateway, host, raw(b"Unauthorized", 401))
    assert isinstance(outcome, Unknown)
    assert sent == 1


async def test_a_key_without_access_is_said_before_anything_goes_out(gateway: Gateway, host: Any) -> None:
    host.post("/public/auth").mock(side_effect=refusing(13004, 401))
    route = host.post("/private/buy")
    with pytest.raises(CredentialError):
        await gateway.place(request())
    assert not route.called


async def test_a_cancel_without_an_answer_goes_six_times_and_is_unknown_then(gateway: Gateway, host: Any) -> None:
    route = host.post("/private/cancel").mock(side_effect=raising(httpx.ReadTimeout))
    row = order_row()
    host.post("/private/get_open_orders").mock(side_effect=lambda sent: answer(sent, [row]))
    outcomes = await gateway.cancel(await gateway.open_orders())
    assert [type(outcome) for outcome in outcomes] == [Unknown]
    assert route.call_count == 6


async def test_a_cancel_whose_answer_was_lost_learns_from_the_repeat_how_it_ended(gateway: Gateway, host: Any) -> None:
    gone = order_row(order_state="cancelled")
    lost, over = raising(httpx.ReadTimeout), refusing(11044)
    route = host.post("/private/cancel")

    def lost_then_over(sent: httpx.Request) -> httpx.Response:
        answered: httpx.Response = lost(sent) if route.call_count == 0 else over(sent)
        return answered

    route.mock(side_effect=lost_then_over)
    host.post("/private/get_open_orders").mock(side_effect=lambda sent: answer(sent, [order_row()]))
    host.post("/private/get_order_state").mock(side_effect=lambda sent: answer(sent, gone))
    (outcome,) = await gateway.cancel(await gateway.open_orders())
    assert isinstance(outcome, Confirmed)
    assert outcome.order.status.value == "cancelled"


async def test_a_throttled_cancel_is_not_repeated_because_that_would_cost_the_session(
    gateway: Gateway, host: Any
) -> None:
    route = host.post("/private/cancel").mock(side_effect=refusing(10028))
    host.post("/private/get_open_orders").mock(side_effect=lambda sent: answer(sent, [order_row()]))
    (outcome,) = await gateway.cancel(await gateway.open_orders())
    assert isinstance(outcome, Refused)
    assert route.call_count == 1


async def test_an_order_that_filled_before_its_cancel_is_reported_as_filled(gateway: Gateway, host: Any) -> None:
    filled = order_row(order_state="filled", filled_amount=0.01, average_price=80000)
    host.post("/private/get_open_orders").mock(side_effect=lambda sent: answer(sent, [order_row()]))
    host.post("/private/cancel").mock(side_effect=refusing(11044))
    host.post("/private/get_order_state").mock(side_effect=lambda sent: answer(sent, filled))
    (outcome,) = await gateway.cancel(await gateway.open_orders())
    assert isinstance(outcome, Confirmed)
    assert outcome.order.status.value == "filled"


async def test_the_mass_cancel_takes_entries_alone_and_its_count_comes_back(gateway: Gateway, host: Any) -> None:
    route = host.post("/private/cancel_all_by_currency").mock(side_effect=lambda sent: answer(sent, 15))
    assert await gateway.cancel_entries() == 15
    params = json.loads(route.calls[0].request.content)["params"]
    assert params == {"currency": "USDC", "kind": "future", "type": "limit", "include_isolated": True}
    route.mock(side_effect=raising(httpx.ReadTimeout))
    assert isinstance(await gateway.cancel_entries(), Unknown)


async def test_reads_survive_a_hiccup(gateway: Gateway, host: Any) -> None:
    replies = iter([raw(HTML, 502), raising(httpx.ReadError), lambda sent: answer(sent, [])])

    def reply(sent: httpx.Request) -> httpx.Response:
        return next(replies)(sent)

    host.post("/private/get_open_orders").mock(side_effect=reply)
    assert await gateway.open_orders() == ()


async def test_a_listing_that_stays_broken_is_unknown_and_never_empty(gateway: Gateway, host: Any) -> None:
    for reply in (raw(HTML), raw(b"null"), raw(b"[]"), raw(b"", 500), refusing(11094)):
        host.post("/private/get_open_orders").mock(side_effect=reply)
        with pytest.raises(VenueUnreachable):
            await gateway.open_orders()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("1e9", 30), ("-5", 1), ("0", 1), ("nan", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), (None, None)],
)
def test_a_wish_to_be_left_alone_is_kept_within_reason(header: str | None, seconds: float | None) -> None:
    from perpctl.exchange.gateway.rpc import clamp_retry_after

    assert clamp_retry_after(header) == seconds


async def test_a_gate_is_asked_last_and_holds_an_order_back(host: Any, tmp_path: Path) -> None:
    asked: list[str] = []

    def closed(order: Any) -> str | None:
        asked.append(order.identity)
        return "latched"

    route = host.post("/private/buy").mock(side_effect=lambda call: answer(call, {"order": order_row(), "trades": []}))
    gateway = open_gateway(Access(key_file=write_key(tmp_path)), ManualClock(START), may_send=closed)
    assert await gateway.place(request()) == Refused(None, "not sent: latched", sent=False)
    assert not route.called
    await gateway.place(request(reduce_only=True))
    assert (route.call_count, asked) == (1, ["L-1"])
    await gateway.aclose()


async def test_the_gate_is_asked_again_before_a_repeat(host: Any, tmp_path: Path) -> None:
    answers = iter([None, "latched meanwhile"])
    route = host.post("/private/buy").mock(side_effect=refusing(13009, 401))
    gateway = open_gateway(Access(key_file=write_key(tmp_path)), ManualClock(START), may_send=lambda _: next(answers))
    assert await gateway.place(request()) == Refused(None, "not sent: latched meanwhile", sent=False)
    assert route.call_count == 1
    await gateway.aclose()


@pytest.mark.parametrize(
    "changes",
    [
        {"post_only": True, "time_in_force": orders.TimeInForce.IOC},
        {"time_in_force": orders.TimeInForce.GTD},
        {"type": orders.OrderType.TRAILING_STOP},
        {"type": orders.OrderType.OTHER},
        {"price": None},
        {"type": orders.OrderType.STOP_MARKET, "price": None},
    ],
)
async def test_what_the_venue_has_no_words_for_is_not_sent(
    gateway: Gateway, host: Any, changes: dict[str, Any]
) -> None:
    outcome = await gateway.place(request(**changes))
    assert isinstance(outcome, Refused)
    assert not outcome.sent


async def test_a_body_that_drips_ends_at_the_deadline() -> None:
    """The deadline is on the whole call: bytes that keep coming do not stretch it."""
    from perpctl.exchange.http import Http, NoAnswer

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        try:
            for _ in range(1000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    http = Http()
    started = asyncio.get_running_loop().time()
    with pytest.raises(NoAnswer, match="whole answer within"):
        await http.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", {}, 0.3)
    assert asyncio.get_running_loop().time() - started < 1.0
    await http.aclose()
    server.close()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from perpctl.exchange.http import Http

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    http = Http()
    reply = await http.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", {}, 2.0)
    assert reply.body == b"{}"
    await http.aclose()
    server.close()


@pytest.mark.parametrize("url", ["http://drb.coinbase.com/api/v2", "ws://192.0.2.1/", "ftp://127.0.0.1/", "127.0.0.1"])
async def test_nothing_leaves_this_machine_in_the_clear(url: str) -> None:
    from perpctl.errors import SettingError
    from perpctl.exchange.transport import Network

    network = Network()
    with pytest.raises(SettingError, match="loopback"):
        await network.post(url, b"{}", {}, 1.0)
    with pytest.raises(SettingError, match="loopback"):
        await network.connect(url, 1.0)


async def test_a_socket_is_not_led_elsewhere() -> None:
    from perpctl.exchange.http import NotSent
    from perpctl.exchange.transport import Network

    visitors: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append((await reader.readuntil(b"\r\n")).decode())
        port = writer.get_extra_info("sockname")[1]
        writer.write(f"HTTP/1.1 302 Found\r\nlocation: ws://127.0.0.1:{port}/other\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    with pytest.raises(NotSent, match="302"):
        await Network().connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws", 2.0)
    assert visitors == ["GET /ws HTTP/1.1\r\n"]
    server.close()
