"""This file turns a CDP key into signed tokens, and tokens into access that is renewed in time."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from perpctl.clock import Clock
from perpctl.errors import CredentialError, VenueUnreachable
from perpctl.exchange import trace
from perpctl.exchange.keys import CdpKey

JWT_LIFE_S = 120  # Coinbase developer platform docs, JWT authentication
RENEW_AT = 0.6  # of a token's life
DATE_RESOLUTION = timedelta(seconds=1)  # the Date header counts whole seconds


class Signer:
    """Signs JWTs with one key, in the venue's time."""

    def __init__(self, key: CdpKey, clock: Clock) -> None:
        self.key = key
        self.offset = timedelta(0)  # venue's wall clock minus ours
        self._clock = clock
        head = json.dumps({"alg": key.algorithm, "kid": key.name, "typ": "JWT"}, separators=(",", ":"))
        self._head = head[:-1] + ',"nonce":"'
        self._claims = json.dumps({"sub": key.name, "iss": "cdp"}, separators=(",", ":"))[:-1]

    def jwt(self, uri: str | None = None) -> str:
        """A fresh token, good for 120 s: for one HTTP request (`GET host/path`), or without a `uri` for a socket's
        message or a token exchange."""
        now = int((self._clock.now() + self.offset).timestamp())
        bound = "" if uri is None else f',"uri":{json.dumps(uri)}'
        claims = f'{self._claims},"nbf":{now},"exp":{now + JWT_LIFE_S}{bound}}}'
        head = f'{self._head}{secrets.token_hex(16)}"}}'
        text = f"{_segment(head)}.{_segment(claims)}"
        return f"{text}.{_base64url(self._sign(text.encode()))}"

    def observe_date(self, header: str | None) -> bool:
        """Learn the venue's wall clock from an answer's Date header; True when it moved our offset."""
        offset = date_offset(header, self._clock.now())
        if offset is None:
            return False
        moved = abs(offset - self.offset) > DATE_RESOLUTION
        if moved:
            self.offset = offset
        return moved

    def _sign(self, text: bytes) -> bytes:
        private = self.key.private
        if isinstance(private, EllipticCurvePrivateKey):
            r, s = decode_dss_signature(private.sign(text, ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return private.sign(text)


def date_offset(header: str | None, now: datetime) -> timedelta | None:
    """The sender's wall clock minus `now`, by a Date header; zero within its resolution, None when it tells nothing."""
    if not header:
        return None
    try:
        theirs = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    offset = theirs + DATE_RESOLUTION / 2 - now
    return timedelta(0) if abs(offset) <= DATE_RESOLUTION else offset


class Tokens:
    """The bearer token of HTTP calls: exchanged when first needed, again at 60 % of its life, once for all callers."""

    def __init__(self, exchange: Callable[[], Awaitable[Mapping[str, object]]], clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._token: str | None = None
        self._renew_at = 0.0
        self._since: float | None = None
        self._lock = asyncio.Lock()

    async def bearer(self) -> str:
        """A token that is good for a while. Raises CredentialError and VenueUnreachable."""
        async with self._lock:
            if self._token is None or self._clock.monotonic() >= self._renew_at:
                return (await self._renewed())[0]
            return self._token

    async def renew(self) -> tuple[float, str]:
        """Exchange a new token now and use it from here on; its life in seconds and its scope."""
        async with self._lock:
            return (await self._renewed())[1:]

    async def _renewed(self) -> tuple[str, float, str]:
        started = self._clock.monotonic()
        grant = await self._exchange()
        self._token, life_s = _read_grant(grant)
        trace.hide(self._token)
        self._since, self._renew_at = started, started + RENEW_AT * life_s
        return self._token, life_s, str(grant.get("scope", ""))

    def age_s(self) -> float | None:
        """How old the token is; None when there is none."""
        return None if self._since is None else self._clock.monotonic() - self._since

    def drop(self, token: str) -> None:
        """The venue would not have this one any more; a newer one is kept."""
        if token == self._token:
            self._token = None


def _read_grant(grant: Mapping[str, object]) -> tuple[str, float]:
    token, life = grant.get("access_token"), grant.get("expires_in")
    if not isinstance(token, str) or not token:
        raise VenueUnreachable("the venue's token exchange answered without an access token")
    if isinstance(life, bool) or not isinstance(life, int) or life <= 0:
        raise VenueUnreachable("the venue's token exchange does not say how long its token lives")
    return token, float(life)


def no_key() -> CredentialError:
    """For private calls of a profile without a key."""
    return CredentialError(
        "this profile names no key file, and the call needs one",
        not_done="nothing was sent",
        next_commands=("perpctl config init",),
    )


def _segment(content: str) -> str:
    return _base64url(content.encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
