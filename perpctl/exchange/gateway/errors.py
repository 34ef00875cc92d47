"""This file reads the gateway's error codes: what each means for the call that got it."""

from __future__ import annotations

from enum import Enum

from perpctl.errors import CredentialError, PerpctlError, Throttled, VenueRefused, VenueUnreachable


class Kind(Enum):
    """What an error answer says about the call."""

    THROTTLED = "throttled"  # not executed; credits are gone
    NOT_EXECUTED = "not executed"  # the same call may be made again
    MAINTENANCE = "maintenance"
    UNAUTHORIZED = "unauthorized"  # not executed; sign in again, once
    FORBIDDEN = "forbidden"  # this key may not
    UNCERTAIN = "uncertain"  # after a write: it may have been executed
    REFUSED = "refused"  # an answer: no


# Deribit docs, error codes; Coinbase gateway docs for 10050, 14020, 14033, 14034.
_KINDS: dict[Kind, frozenset[int]] = {
    Kind.THROTTLED: frozenset({10028, 10047, 10066, 12003, 12998, 13903, 429}),
    Kind.NOT_EXECUTED: frozenset({10040, 10041, 10048, 10050, 11056, 13025, 13503, 13666, 13888}),
    Kind.MAINTENANCE: frozenset({11051}),
    Kind.UNAUTHORIZED: frozenset({10000, 13004, 13009}),
    Kind.FORBIDDEN: frozenset({11042, 13012, 13021, 13031, 13403}),
    Kind.UNCERTAIN: frozenset({10001, 11031, 11094, 13008, 13028, -32603}),
}
_ANSWERS = frozenset(range(10000, 15000)) | {-32000, -32600, -32601, -32602, -32700}
ORDER_NOT_FOUND = frozenset({10004, 10029})
NOT_OPEN = frozenset({10010, 11008, 11044})
_KIND_OF = {code: kind for kind, codes in _KINDS.items() for code in codes}


def kind_of(code: int) -> Kind:
    """The class of a code. One outside the venue's numbering proves nothing, so it is UNCERTAIN."""
    return _KIND_OF.get(code, Kind.REFUSED if code in _ANSWERS else Kind.UNCERTAIN)


class RpcFailure(Exception):
    """The venue answered with an error; `retry_after_s` is its own wish, when it sent one."""

    def __init__(self, code: int, message: str, detail: object = None, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.detail = detail
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> Kind:
        return kind_of(self.code)

    @property
    def reason(self) -> str:
        """The venue's own words, with the parameter it complains about, or the margin that it would take."""
        detail = self.detail if isinstance(self.detail, dict) else {}
        if "reason" in detail:
            return f"{self.message}: {detail.get('param', '')} {detail['reason']}".strip()
        if "required_minimum" in detail:
            least, better = detail["required_minimum"], detail.get("suggested_amount", "?")
            return f"{self.message}: allocated_margin at least {least}, better {better}"
        return self.message


def typed(failure: RpcFailure, method: str) -> PerpctlError:
    """The failure as an operator is told about it, for a call that changes nothing."""
    said = f"{method}: the venue answered {failure.code} {failure.reason}"
    kind = failure.kind
    if kind is Kind.THROTTLED:
        return Throttled(said, code=failure.code, reason=failure.reason, not_done="nothing was executed")
    if kind in (Kind.UNAUTHORIZED, Kind.FORBIDDEN):
        return CredentialError(f"{said}: {_CREDENTIAL_FIX[kind]}", not_done="nothing was executed")
    if kind in (Kind.MAINTENANCE, Kind.UNCERTAIN, Kind.NOT_EXECUTED):
        return VenueUnreachable(said, not_done="nothing was learned")
    return VenueRefused(said, code=failure.code, reason=failure.reason, not_done="nothing was executed")


_CREDENTIAL_FIX = {
    Kind.UNAUTHORIZED: "the key is unknown, deleted or of another environment, or the machine's clock is wrong",
    Kind.FORBIDDEN: "the key lacks the permission, or this address is not on its list (portal.cdp.coinbase.com)",
}
