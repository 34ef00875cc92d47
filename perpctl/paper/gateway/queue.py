"""This file is the queue before the matching engine: what a fault holds back waits in it, and may be purged there.

Deribit docs, order management: eight requests of an account may wait; a mass cancel purges what was queued before it,
and a newer edit of an order takes the place of an older one. What was purged or replaced did not execute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from perpctl.paper.gateway.access import MATCHING, pool_of
from perpctl.paper.gateway.rpc import Request, RpcError

MOST_WAITING = 8
_CREATING = ("private/buy", "private/sell", "private/edit", "private/edit_by_label")
_EDITS = ("private/edit", "private/edit_by_label")


@dataclass(eq=False, slots=True)
class Waiting:
    """One request that waits; `refusal` is what became of it meanwhile."""

    account: int
    request: Request
    refusal: RpcError | None = None


@dataclass
class EngineQueue:
    """The waiting requests of every account, oldest first."""

    _waiting: list[Waiting] = field(default_factory=list)

    @property
    def holds_some(self) -> bool:
        """Whether any request waits."""
        return bool(self._waiting)

    def arrive(self, account: int, request: Request) -> None:
        """A request came in: it may undo others that wait."""
        mass_cancel = request.method == "private/cancel_by_label" or _is_mass_cancel(request)
        for other in self._waiting:
            if other.account != account or other.refusal is not None:
                continue
            if mass_cancel and other.request.method in _CREATING and _reaches(request, other.request):
                other.refusal = RpcError("request_cancelled_by_user")
            elif request.method in _EDITS and other.request.method in _EDITS and _same_order(request, other.request):
                other.refusal = RpcError("replaced")

    def enter(self, account: int, request: Request) -> Waiting | None:
        """Let a request wait; None for one that is not the engine's. A ninth is refused at once."""
        if request.method not in MATCHING and not _is_mass_cancel(request):
            return None
        waiting = Waiting(account, request)
        if sum(one.account == account and one.refusal is None for one in self._waiting) >= MOST_WAITING:
            waiting.refusal = RpcError("matching_engine_queue_full")
        else:
            self._waiting.append(waiting)
        return waiting

    def leave(self, waiting: Waiting) -> None:
        """Its turn, or its end. Raises RpcError for what was refused meanwhile."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        if waiting.refusal is not None:
            raise waiting.refusal


def _is_mass_cancel(request: Request) -> bool:
    return pool_of(request.method, has_currency=request.params.has("currency")) == "cancel_all"


def _reaches(cancel: Request, other: Request) -> bool:
    """Whether a mass cancel is about that request; one that cannot be told apart is."""
    for name in ("label", "instrument_name"):
        wanted, named = cancel.params.raw.get(name), other.params.raw.get(name)
        if wanted is not None and wanted != named and (named is not None or name == "label"):
            return False
    return True


def _same_order(one: Request, other: Request) -> bool:
    names = ("order_id",) if one.params.has("order_id") else ("label", "instrument_name")
    return all(one.params.raw.get(name) == other.params.raw.get(name) for name in names)
