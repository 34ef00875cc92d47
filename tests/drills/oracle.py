"""What the exchange's own ledger says of us, read without a line of the client: orders, fills, positions, covers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.desk import Desk
from perpctl.model import identity
from perpctl.store.records import Kind

LIVE = ("open", "untriggered")
MAIN = 1


@dataclass
class Ledger:
    """The main account of the paper exchange, folded from `ledger.jsonl`."""

    fills: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # newest state by id
    labels: dict[str, set[str]] = field(default_factory=dict)
    traded: dict[str, Decimal] = field(default_factory=dict)  # by order id: a trade stands before its order's new state
    position: Decimal = Decimal(0)
    worst: Decimal = Decimal(0)  # largest notional ever, counting what was open
    mark: Decimal = Decimal(0)

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [one for one in self.orders.values() if one["state"] in LIVE and not one.get("reduce_only")]

    @property
    def is_covered(self) -> bool:
        """Whether one resting stop is as large as the position."""
        closing = "sell" if self.position > 0 else "buy"
        stops = [
            Decimal(one["amount"]) - Decimal(one.get("filled", 0))
            for one in self.orders.values()
            if one["state"] == "untriggered" and one.get("reduce_only") and one["direction"] == closing
        ]
        return max(stops, default=Decimal(0)) >= abs(self.position)

    def _measure(self) -> None:
        reach = {"buy": self.position, "sell": -self.position}
        for one in self.entries:
            filled = max(Decimal(one.get("filled", 0)), self.traded.get(one["order_id"], Decimal(0)))
            reach[one["direction"]] += Decimal(one["amount"]) - filled
        self.worst = max(self.worst, max(reach.values()) * self.mark)


def read_ledger(exchange: Path, *, ours_only: bool = True) -> Ledger:
    """The ledger up to now; with `ours_only`, exposure counts no order under a label that is not of our form."""
    found = Ledger()
    for line in (exchange / "ledger.jsonl").read_bytes().split(b"\n")[:-1]:
        row = json.loads(line)
        if (order := row.get("order")) is not None and order["account_id"] == MAIN:
            found.orders[order["order_id"]] = order
            if order.get("label") and not order.get("trigger_fired"):
                found.labels.setdefault(order["label"], set()).add(order["order_id"])
        elif (trade := row.get("trade")) is not None and trade["account_id"] == MAIN:
            if trade["trade_id"] in found.fills:
                continue
            found.fills[trade["trade_id"]] = trade
            number = trade["order_id"]
            found.traded[number] = found.traded.get(number, Decimal(0)) + Decimal(trade["amount"])
            found.mark = Decimal(trade["mark_price"])
            found.position += Decimal(trade["amount"]) * (1 if trade["direction"] == "buy" else -1)
        if found.mark:
            found._measure()
    return found


def doubled(ledger: Ledger) -> list[str]:
    """Labels under which more than one order stands; a stop that fired is followed by its second half."""
    trouble = []
    for label, ids in ledger.labels.items():
        firsts = [one for one in ids if ledger.orders[one].get("original_order_type") is None]
        if len(firsts) > 1:
            trouble.append(f"{label} was sent {len(firsts)} times")
    return trouble


def compare(exchange: Path, limit: Decimal | None = None) -> list[str]:
    """What the journal and the exchange do not agree on. The bot may be trading: only what must be there is asked."""
    theirs = read_ledger(exchange)
    desk = Desk(profile.load("paper"), SystemClock())
    journal = desk.journal()
    try:
        key, ours = desk.identity_key(), desk.projections()
        booked = Counter(fill.trade_id for fill in ours.fills())
        later = read_ledger(exchange)  # read after the journal: nothing in the journal may be missing here
        trouble = [f"fill {one} of the exchange is not in our journal" for one in theirs.fills.keys() - booked.keys()]
        trouble += [f"fill {one} is in our journal only" for one in booked.keys() - later.fills.keys()]
        trouble += [f"fill {one} is booked {count} times" for one, count in booked.items() if count != 1]
        mine = {label for label in theirs.labels if identity.is_ours(key, label)}
        trouble += [f"order {label} was sent without an intent" for label in mine if ours.order(label) is None]
        trouble += doubled(theirs)
        trouble += _out_of_order(journal)
        if not journal.verify().is_whole:
            trouble.append(f"the chain is broken: {journal.verify()}")
        if limit is not None and later.worst > limit:
            trouble.append(f"exposure of {later.worst} was reached, {limit} is allowed")
    finally:
        journal.close()
    return trouble


def _out_of_order(journal: Any) -> list[str]:
    """Sent before intended, or intended twice."""
    intended: set[str] = set()
    trouble = []
    for record in journal.records(kinds=(Kind.ORDER_INTENDED, Kind.ORDER_SENT)):
        name = str(record.correlation.intent_id)
        if record.kind is Kind.ORDER_INTENDED:
            trouble += [f"{name} was intended twice"] if name in intended else []
            intended.add(name)
        elif name not in intended:
            trouble.append(f"{name} was sent before its intent")
    return trouble
