"""Signing and renewing: an independent library must accept what we sign by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from perpctl.clock import ManualClock
from perpctl.errors import VenueUnreachable
from perpctl.exchange.auth import Signer, Tokens
from perpctl.exchange.keys import CdpKey, PrivateKey

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEYS: list[PrivateKey] = [ec.generate_private_key(ec.SECP256R1()), Ed25519PrivateKey.generate()]


@pytest.mark.parametrize("private", KEYS, ids=["ES256", "EdDSA"])
def test_a_signed_token_passes_an_independent_library(private: PrivateKey) -> None:
    signer = Signer(CdpKey("org/apiKeys/c41e", private), ManualClock(NOW))
    for _ in range(20):
        token = signer.jwt()
        options = {"verify_exp": False, "verify_nbf": False}
        claims = jwt.decode(token, private.public_key(), algorithms=[signer.key.algorithm], options=options)  # type: ignore[arg-type]
        now = int(NOW.timestamp())
        assert claims == {"sub": "org/apiKeys/c41e", "iss": "cdp", "nbf": now, "exp": now + 120}
    head = jwt.get_unverified_header(token)
    assert (head["kid"], head["typ"], head["alg"]) == ("org/apiKeys/c41e", "JWT", signer.key.algorithm)
    assert "uri" not in claims


def test_a_signature_with_a_short_half_keeps_its_length() -> None:
    signer = Signer(CdpKey("k", KEYS[0]), ManualClock(NOW))
    lengths = {len(signer.jwt().rpartition(".")[2]) for _ in range(1500)}  # every 128th or so has one
    assert lengths == {86}


def test_each_token_has_its_own_nonce() -> None:
    signer = Signer(CdpKey("k", KEYS[1]), ManualClock(NOW))
    assert jwt.get_unverified_header(signer.jwt())["nonce"] != jwt.get_unverified_header(signer.jwt())["nonce"]


@pytest.mark.parametrize(("ours_ahead_s", "moved"), [(0, False), (0.9, False), (300, True), (-3600, True)])
def test_the_date_of_an_answer_corrects_our_clock(ours_ahead_s: float, moved: bool) -> None:
    signer = Signer(CdpKey("k", KEYS[1]), ManualClock(NOW + timedelta(seconds=ours_ahead_s)))
    assert signer.observe_date(format_datetime(NOW, usegmt=True)) is moved
    not_before = jwt.decode(signer.jwt(), options={"verify_signature": False})["nbf"]
    assert abs(not_before - NOW.timestamp()) <= 1.0


@pytest.mark.parametrize("header", [None, "", "yesterday", "Mon, 99 Nov 2026 12:00:00 GMT"])
def test_a_date_that_is_none_changes_nothing(header: str | None) -> None:
    signer = Signer(CdpKey("k", KEYS[1]), ManualClock(NOW))
    assert signer.observe_date(header) is False
    assert signer.offset == timedelta(0)


class Exchange:
    """A token exchange that counts."""

    def __init__(self, expires_in: object = 900) -> None:
        self.expires_in = expires_in
        self.count = 0

    async def __call__(self) -> dict[str, object]:
        self.count += 1
        await asyncio.sleep(0)
        return {"access_token": f"T{self.count}", "expires_in": self.expires_in}


async def test_many_callers_share_one_exchange() -> None:
    exchange = Exchange()
    tokens = Tokens(exchange, ManualClock(NOW))
    assert set(await asyncio.gather(*(tokens.bearer() for _ in range(10)))) == {"T1"}


async def test_a_token_is_renewed_at_sixty_percent_of_its_life() -> None:
    clock, exchange = ManualClock(NOW), Exchange()
    tokens = Tokens(exchange, clock)
    assert await tokens.bearer() == "T1"
    clock.advance(539)
    assert await tokens.bearer() == "T1"
    clock.advance(1)
    assert await tokens.bearer() == "T2"


async def test_dropping_an_old_token_keeps_the_newer_one() -> None:
    tokens = Tokens(Exchange(), ManualClock(NOW))
    first = await tokens.bearer()
    tokens.drop(first)
    second = await tokens.bearer()
    tokens.drop(first)
    assert await tokens.bearer() == second == "T2"


@pytest.mark.parametrize("expires_in", [None, 0, -1, True, "900", 9.5])
async def test_a_grant_without_a_life_is_no_grant(expires_in: object) -> None:
    with pytest.raises(VenueUnreachable):
        await Tokens(Exchange(expires_in), ManualClock(NOW)).bearer()
