"""This file reads what Advanced Trade says when it says no: statuses, bodies of four shapes, reasons of orders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from perpctl.errors import CredentialError, PerpctlError, Throttled, VenueRefused, VenueUnreachable
from perpctl.exchange.both.document import Row
from perpctl.exchange.http import NoAnswer

RETIRED = "/intx"


class Kind(Enum):
    """What an HTTP refusal says about the call."""

    THROTTLED = "throttled"  # not executed
    UNAUTHORIZED = "unauthorized"  # not executed; sign anew, once
    FORBIDDEN = "forbidden"  # this key may not
    REFUSED = "refused"  # an answer: no
    NOT_FOUND = "not found"
    UNCERTAIN = "uncertain"  # after a write: it may have been executed


_KINDS = {401: Kind.UNAUTHORIZED, 403: Kind.FORBIDDEN, 404: Kind.NOT_FOUND, 429: Kind.THROTTLED}
_THROTTLES = ("rate_limit_exceeded", "resource_exhausted")


class HttpFailure(Exception):
    """The venue answered with a status that is no success; `retry_after_s` is its own wish, when it sent one."""

    def __init__(self, status: int, said: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"HTTP {status} {said}".strip())
        self.status = status
        self.said = said
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> Kind:
        if any(word in self.said for word in _THROTTLES):
            return Kind.THROTTLED
        if 400 <= self.status < 500:
            return _KINDS.get(self.status, Kind.REFUSED)
        return Kind.UNCERTAIN


def words_of(content: Mapping[str, object]) -> str:
    """The text in an error body, whichever of its shapes it has: v3, Coinbase App's list, OAuth's."""
    rows = content.get("errors")
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
        return " ".join(str(rows[0][name]) for name in ("id", "message") if rows[0].get(name))
    names = ("error", "message", "error_details", "error_description")
    parts = [str(content[name]) for name in names if content.get(name)]
    return ": ".join(dict.fromkeys(parts))


def typed(failure: HttpFailure, what: str) -> PerpctlError:
    """The failure as an operator is told about it, for a call that changes nothing."""
    said = f"{what}: the venue answered {failure.status} {failure.said}".rstrip()
    match failure.kind:
        case Kind.THROTTLED:
            return Throttled(said, code=failure.status, reason=failure.said, not_done="nothing was executed")
        case Kind.UNAUTHORIZED:
            return CredentialError(
                f"{said}: the venue does not say why. The machine's clock, the key's file, this address not on the "
                "key's list, or a key that was deleted or disabled",
                not_done="nothing was executed",
                next_commands=("perpctl auth test",),
            )
        case Kind.FORBIDDEN:
            fix = "the key lacks a permission" if "scope" in failure.said else "the key may not do this, or not here"
            return CredentialError(
                f"{said}: {fix} (portal.cdp.coinbase.com)",
                not_done="nothing was executed",
                next_commands=("perpctl auth test",),
            )
        case Kind.UNCERTAIN:
            return VenueUnreachable(said, not_done="nothing was learned")
        case _:
            return VenueRefused(said, code=failure.status, reason=failure.said, not_done="nothing was executed")


# --- orders ----------------------------------------------------------------------------------------------------------

_SAYS_NOTHING = re.compile(r"UNKNOWN_(\w+_)?(FAILURE_REASON|ORDER)$|^$")
_MEANINGS = {
    "INVALID_LIMIT_PRICE_POST_ONLY": "it would have traded at once, and it was post-only",
    "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY": "above the exchange's price band",
    "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_SELL": "below the exchange's price band",
    "BREACHED_PRICE_LIMIT": "outside the exchange's price band",
    "INSUFFICIENT_FUND": "not enough margin",
    "INSUFFICIENT_FUNDS": "not enough margin",
    "INSUFFICIENT_FUNDS_FOR_FUTURES": "not enough margin at the FCM",
    "INVALID_FCM_TRADING_SESSION": "the trading session is closed",
    "UNTRADABLE_FCM_ACCOUNT_STATUS": "the futures account is not approved, or blocked",
    "GEOFENCING_RESTRICTION": "not allowed from this region",
    "IN_LIQUIDATION": "the venue is liquidating this account",
    "CLOSE_ONLY_FAILURE": "the account may only close positions",
    "REDUCE_ONLY_NOT_ALLOWED_ON_VENUE": "this venue has no reduce-only",
    "STOP_PRICE_ABOVE_LAST_TRADE_PRICE": "the stop is beyond the last price already",
    "STOP_PRICE_BELOW_LAST_TRADE_PRICE": "the stop is beyond the last price already",
    "INTRADAY_MARGIN_NOT_READY": "intraday margin is not set up for this account",
    "UNSUPPORTED_ORDER_CONFIGURATION": "this product does not take such orders",
}
PRICE_BAND = frozenset(
    {
        "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY",
        "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_SELL",
        "BREACHED_PRICE_LIMIT",
    }
)
# The venue's answers to a cancel of an order that has ended, or is about to: its state tells.
ENDED = frozenset({"UNKNOWN_CANCEL_ORDER", "ORDER_IS_FULLY_FILLED", "DUPLICATE_CANCEL_REQUEST"})


def refusal(answer: Row) -> str:
    """The most specific reason of a refused create, edit or close (HTTP 200, success false), with what it means."""
    error = answer.get("error_response")
    error = error if isinstance(error, dict) else {}
    names = ("preview_failure_reason", "new_order_failure_reason", "error")
    given = [str(error.get(name) or "") for name in names] + [str(answer.get("failure_reason") or "")]
    telling = [one for one in given if not _SAYS_NOTHING.search(one)]
    code = telling[0].removeprefix("PREVIEW_") if telling else "UNKNOWN_FAILURE_REASON"
    said = (str(error[name]) for name in ("message", "error_details") if error.get(name))
    meaning = _MEANINGS.get(code) or next(said, "")
    return f"{code}: {meaning}" if meaning else code


def code_of(reason: str) -> str:
    """The venue's own word at the head of a reason."""
    return reason.partition(":")[0]


def allowed_ids(failure: HttpFailure) -> int | None:
    """How many ids the venue takes at a time just now, when that is what it complains about."""
    found = re.search(r"limit is (\d{1,6})", failure.said)
    return int(found[1]) if found and int(found[1]) > 0 else None


def unreachable(what: str, why: Exception) -> VenueUnreachable:
    """What an operator is told when no trustworthy answer came."""
    return VenueUnreachable(f"{what}: {why}", not_done="nothing was learned; what was known before is not confirmed")


def needs_proof_token(answer: Row, what: str) -> None:
    """Raises NoAnswer for a list that the venue holds back until its owner proves who they are: it is not empty."""
    if answer.get("proof_token_required") is True:
        raise ProofRequired(f"{what}: the venue wants a proof token first, so what is in the list is unknown")


class ProofRequired(NoAnswer):
    """Asking again will not help: only the account's owner can."""
