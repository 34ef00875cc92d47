"""This file cancels: one mass cancel for what it reaches, ids for the rest, at a pace that the session survives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from perpctl.emergency.closer import NOTHING_LEFT
from perpctl.emergency.pending import Record
from perpctl.emergency.venue.gateway import Gateway, Said
from perpctl.emergency.venue.wire import at_once, few_at_a_time
from perpctl.errors import CredentialError
from perpctl.model.order import Order

IDS_A_SECOND, IDS_AT_ONCE = 3.0, 12  # 60 % of the lowest engine tier
_MAY_NOT_TRADE = frozenset({11042, 13021, 13403})


class Canceller:
    """What a kill cancelled so far."""

    def __init__(self, record: Record, note_refusal: Callable[[str, Said], None], after: Callable[[], float]) -> None:
        self.cancelled: set[str] = set()  # entries by id
        self.stops: set[str] = set()
        self.counted = 0  # by mass cancels, as the venue counts: tells people something, proves nothing
        self.began: float | None = None  # of the first cancel, monotonic
        self.unfit_keys: set[Path] = set()  # keys that may read and not trade
        self._record = record
        self._note_refusal = note_refusal
        self._after = after
        self._ids_left, self._ids_at = float(IDS_AT_ONCE), time.monotonic()

    def began_before(self, seconds: float) -> bool:
        """Whether the first cancel is older than that."""
        return self.began is not None and time.monotonic() - self.began > seconds

    def begin(self, gateway: Gateway) -> None:
        """Without a mass cancel, cancelling begins with the venue's clock."""
        if self.began is None:
            self.began = time.monotonic()
            gateway.learn_market_clock()

    def cancel_limits(self, gateway: Gateway, currencies: Sequence[str]) -> None:
        """One mass cancel a currency. Raises CredentialError when the key may not trade, else what the venue said."""
        calls: list[Callable[[], int | None]] = [partial(gateway.cancel_limits, currency) for currency in currencies]
        if self.began is None:
            self.began = time.monotonic()
            self._record.write("first_cancel", after_s=round(self._after(), 4))
            calls.append(gateway.learn_market_clock)
        for answer in at_once(calls):
            if isinstance(answer, int):
                self.counted += answer
            elif isinstance(answer, Said) and not answer.throttled:
                self._note_refusal("mass cancel", answer)
                if answer.code in _MAY_NOT_TRADE and gateway.key_file is not None:
                    self.unfit_keys.add(gateway.key_file)
                    raise CredentialError(f"key {gateway.key_id} may not trade: {answer}")
            elif isinstance(answer, Exception):
                raise answer

    def cancel_ids(self, gateway: Gateway, orders: Sequence[Order], gone: set[str]) -> bool:
        """As many as the pace allows, each by its id; whether any was sent. Raises NoAnswer, or Said when throttled."""
        chosen = orders[: self._may_send(len(orders))]
        if not chosen:
            return False
        answers = few_at_a_time([partial(gateway.cancel, order) for order in chosen])
        for order, answer in zip(chosen, answers, strict=True):
            if answer is None or (isinstance(answer, Said) and answer.code in NOTHING_LEFT):
                gone.add(order.order_id)
                self._record.write("cancelled", order_id=order.order_id, label=order.identity, product=order.product_id)
            elif isinstance(answer, Said) and not answer.throttled:
                self._note_refusal(f"cancel {order.order_id}", answer)
            elif isinstance(answer, Exception):
                raise answer
        return True

    def _may_send(self, wanted: int) -> int:
        now = time.monotonic()
        self._ids_left = min(float(IDS_AT_ONCE), self._ids_left + (now - self._ids_at) * IDS_A_SECOND)
        self._ids_at = now
        granted = min(wanted, int(self._ids_left))
        self._ids_left -= granted
        return granted
