"""This file tells a user of their own orders, positions and money: the channels that want a JWT."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perpctl.paper.advanced_trade.listing import contracts, moment, text
from perpctl.paper.advanced_trade.money import Purse, measure, summary
from perpctl.paper.advanced_trade.orders.rows import Seen
from perpctl.paper.advanced_trade.orders.sight import Sight
from perpctl.paper.core import Exchange
from perpctl.paper.events import AccountChanged, Event, OrderChanged, PositionChanged, TickerChanged
from perpctl.paper.types import Order, Position

Row = dict[str, Any]
BATCH = 50  # open orders a snapshot message; the first message with fewer ends the snapshot
NEVER = "0001-01-01T00:00:00Z"
ZERO = Decimal(0)
_TITLES = {
    "LIMIT": "Limit",
    "MARKET": "Market",
    "STOP_LIMIT": "Stop Limit",
    "BRACKET": "Bracket",
    "TAKE_PROFIT_STOP_LOSS": "Take Profit Stop Loss",
    "LIQUIDATION": "Liquidation",
}


@dataclass
class Mine:
    """Orders, cumulative and whole each time, with the positions; no products named means all."""

    exchange: Exchange
    sight: Sight
    account: int
    names: frozenset[str]
    _changed: list[Order] = field(default_factory=list)
    _began: bool = False

    def see(self, event: Event) -> None:
        if isinstance(event, OrderChanged) and event.account_id == self.account and self._wants(event.order.product):
            self._changed.append(event.order)

    def _wants(self, product: str) -> bool:
        return not self.names or product in self.names

    def take(self) -> list[list[Row]]:
        if not self._began:
            self._began, self._changed = True, []
            return self._snapshot()
        changed, self._changed = self._changed, []
        return [[self._event("update", [order])] for order in changed]

    def _snapshot(self) -> list[list[Row]]:
        live = [order for order in self.exchange.open_orders(self.account) if self._wants(order.product)]
        batches = [live[first : first + BATCH] for first in range(0, len(live) + 1, BATCH)]
        return [[self._event("snapshot", batch)] for batch in batches]

    def _event(self, kind: str, orders: list[Order]) -> Row:
        held = [one for one in self.exchange.positions(self.account) if one.size and self._wants(one.product)]
        return {
            "type": kind,
            "orders": [order_row(self.sight.newest(order)) for order in orders],
            "positions": {
                "perpetual_futures_positions": [],  # INTX's; a CDE perpetual counts as expiring
                "expiring_futures_positions": [self._position(one) for one in held],
            },
        }

    def _position(self, held: Position) -> Row:
        product = self.exchange.product(held.product)
        realised = self.sight.realised[self.account, held.product]
        return {
            "product_id": held.product,
            "side": "Long" if held.size > 0 else "Short",
            "number_of_contracts": text(contracts(product, abs(held.size))),
            "realized_pnl": text(realised.quantize(Decimal("1e-6"))),
            "unrealized_pnl": text(held.total_profit_loss.quantize(Decimal("1e-6"))),
            "entry_price": text((held.average_price or ZERO).quantize(Decimal("1e-6"))),
        }


def order_row(seen: Seen) -> Row:
    """One order of the user channel."""
    order, product = seen.order, seen.product
    future = product.kind == "future"
    limit = order.price if order.original_order_type != "market" else None
    return {
        "avg_price": text(order.average_price or ZERO),
        "cancel_reason": seen_reason(order),
        "client_order_id": "" if order.primary_order_id else order.label,
        "completion_percentage": seen.completion,
        "contract_expiry_type": "EXPIRING" if future else "UNKNOWN_CONTRACT_EXPIRY_TYPE",
        "cumulative_quantity": text(contracts(product, order.filled)),
        "filled_value": text(order.filled_value),
        "leaves_quantity": text(contracts(product, order.remaining) if order.is_live else ZERO),
        "limit_price": text(limit),
        "number_of_fills": str(len(seen.trades)),
        "order_id": order.order_id,
        "order_side": order.direction.upper(),
        "order_type": _TITLES[seen.order_type],
        "outstanding_hold_amount": text(seen.hold),
        "post_only": "true" if order.post_only else "false",
        "product_id": order.product,
        "product_type": "FUTURE" if future else "SPOT",
        "reject_reason": "INSUFFICIENT_FUNDS" if order.state == "rejected" else "",
        "retail_portfolio_id": seen.portfolio,
        "risk_managed_by": "MANAGED_BY_FCM" if future else "UNKNOWN_RISK_MANAGEMENT_TYPE",
        "status": seen.status,
        "stop_price": text(order.trigger_price),
        "time_in_force": seen.in_force,
        "total_fees": text(seen.fees),
        "total_value_after_fees": text(seen.total_after_fees),
        "trigger_status": seen.trigger_status,
        "creation_time": moment(order.created_ms),
        "end_time": moment(order.end_ms) or NEVER,
        "start_time": NEVER,
    }


def seen_reason(order: Order) -> str:
    """Why a cancelled order ended."""
    return (order.cancel_reason or "") if order.state == "cancelled" else ""


@dataclass
class Balance:
    """The account's figures as plain strings, when they changed."""

    exchange: Exchange
    sight: Sight
    account: int
    _stale: bool = True
    _last: Row | None = None

    def see(self, event: Event) -> None:
        mine = isinstance(event, AccountChanged | PositionChanged) and event.account_id == self.account
        self._stale = self._stale or mine or isinstance(event, TickerChanged)

    def take(self) -> list[list[Row]]:
        if not self._stale:
            return []
        self._stale = False
        purse = Purse(self.exchange, self.account, self.sight.trades(self.account))
        figures = summary(purse)
        hidden = ("total_pending_transfers_amount", "funding_pnl")  # documented for REST only
        row: Row = {name: value for name, value in figures.items() if name not in hidden}
        row["liquidation_buffer_percentage"] = purse.buffer_percent(purse.view.maintenance_margin)
        name = "liquidation_buffer_percentage"  # what REST calls liquidation_buffer
        row["intraday_margin_window_measure"] = measure(purse, "INTRADAY", purse.day, name)
        row["overnight_margin_window_measure"] = measure(purse, "OVERNIGHT", purse.night, name)
        if row == self._last:
            return []
        kind, self._last = "update" if self._last else "snapshot", row
        return [[{"type": kind, "fcm_balance_summary": row}]]
