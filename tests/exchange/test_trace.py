"""What debugging shows of the traffic: calls and frames, and never what opens an account."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from perpctl.clock import ManualClock
from perpctl.exchange import trace
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.passing import Passing, noted
from perpctl.host.log import DEBUG_FOR_S, Wish, listen
from tests.exchange.gateway.venue import START, Refusal, Venue, connect, position_row, request, write_key

DEBUG = Wish(api_calls=True, websocket=True)


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    clock = ManualClock(START)
    yield clock
    listen(Wish("CRITICAL"), clock)


@pytest.fixture
def canary() -> str:
    """New in each test: a secret that was hidden once stays hidden."""
    return f"canary-{secrets.token_hex(8)}"


@pytest.fixture
def venue(canary: str) -> Venue:
    venue = Venue(ManualClock(START))
    grant = {"access_token": canary, "expires_in": 900, "refresh_token": f"r-{canary[::-1]}"}
    venue.answers["public/auth"] = grant
    venue.answers["private/get_positions"] = [position_row()]
    return venue


@pytest.fixture
def gateway(venue: Venue, tmp_path: Path) -> Gateway:
    return connect(venue, tmp_path)


async def test_calls_and_answers_are_shown_when_asked_for(
    gateway: Gateway, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    listen(Wish(), clock)
    await gateway.positions()
    assert capsys.readouterr().err == ""
    listen(Wish(api_calls=True), clock)
    await gateway.positions()
    told = capsys.readouterr().err
    assert "DEBUG api -> http private/get_positions" in told
    assert '"include_isolated":true' in told
    assert "DEBUG api <- http private/get_positions 200" in told
    assert "DEBUG websocket" not in told


async def test_the_log_level_alone_turns_everything_on(
    gateway: Gateway, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    listen(Wish("DEBUG"), clock)
    await gateway.positions()
    assert "-> http private/get_positions" in capsys.readouterr().err


@pytest.mark.parametrize("to_file", [False, True])
async def test_no_key_token_or_signature_is_written_whatever_fails(
    canary: str,
    gateway: Gateway,
    venue: Venue,
    clock: ManualClock,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    to_file: bool,
) -> None:
    def quote_the_token(params: dict[str, Any]) -> Any:
        raise Refusal(13009, f"unauthorized: {canary}", {"reason": canary, "authorization": f"Bearer {canary}"})

    log = tmp_path / "run.log"
    listen(DEBUG, clock, log if to_file else None)
    await gateway.positions()
    venue.answers["private/get_positions"] = quote_the_token
    with pytest.raises(Exception, match="get_positions"):
        await gateway.positions()
    await gateway.place(request())
    told = log.read_text() if to_file else capsys.readouterr().err
    assert "public/auth" in told
    assert "private/buy" in told
    signed = venue.sent("public/auth")["token"]
    assert [one for one in (canary, canary[::-1], "eyJ", signed.rpartition(".")[2]) if one in told] == []
    if to_file:
        assert log.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJrIn0.c2lnbmF0dXJl",
        "Authorization: Bearer abc-def",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAw",
    ],
)
def test_what_is_shaped_like_a_secret_is_hidden_wherever_it_comes_from(
    text: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    listen(DEBUG, clock)
    trace.API.debug("the venue said: %s", text)
    told = capsys.readouterr().err
    assert "[hidden]" in told
    assert all(part not in told for part in ("MHcCAQEE", "MC4CAQAw", "abc-def", "c2lnbmF0dXJl"))


def test_what_cannot_be_read_is_not_shown(canary: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
    listen(DEBUG, clock)
    trace.frame("<-", b"\xff\x00 token=" + canary.encode())
    assert "bytes that are no JSON" in (told := capsys.readouterr().err)
    assert canary not in told


def test_debugging_ends_by_itself_and_says_so_once(clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
    listen(DEBUG, clock)
    trace.frame("->", b"{}")
    clock.advance(DEBUG_FOR_S)
    for _ in range(3):
        trace.frame("->", b"{}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "ended after 30 min" in lines[1]


async def test_the_first_pause_of_a_read_is_what_the_settings_say(venue: Venue, tmp_path: Path) -> None:
    pauses: list[float] = []

    class Noting(ManualClock):
        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    def fail(params: dict[str, Any]) -> Any:
        raise Refusal(13503, "unavailable")

    venue.answers["private/get_positions"] = fail
    access = replace(connect(venue, tmp_path)._line.access, key_file=write_key(tmp_path), first_pause_s=20.0)
    gateway = open_gateway(access, Noting(START), transport=venue)
    for _ in range(8):
        with pytest.raises(Exception, match="get_positions"):
            await gateway.positions()
    assert len(pauses) == 8 * 3
    assert max(pauses) > 2  # by its class the longest would be 0.8 s
    assert all(pause <= 20 * 2 ** (number % 3) for number, pause in enumerate(pauses))


def test_what_is_read_while_an_order_is_on_its_way_is_not_kept_with_it(clock: ManualClock) -> None:
    with noted() as passages:
        order, read = (Passing(clock, "http", method, "venue") for method in ("POST /orders", "GET /orders/o1"))
        order.leaves(b"{}")
        for one in (order, read):
            one.came_back(b'{"a":1}', 200)
    assert passages == [order.passage]
    assert order.passage.response_kept == '{"a":1}'
    assert read.passage.response_kept is None
