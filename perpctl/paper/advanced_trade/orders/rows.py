"""This file writes orders, fills and positions with the members that captures and documents show."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpctl.paper.advanced_trade.listing import contracts, moment, text
from perpctl.paper.advanced_trade.orders.configuration import configuration_of
from perpctl.paper.types import Order, Position, Product, Trade

Row = dict[str, Any]
ZERO = Decimal(0)
USER_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, "perpctl paper user"))
SIMPLE, ADVANCED = "RETAIL_SIMPLE", "RETAIL_ADVANCED"
IN_FORCE = {
    "good_til_cancelled": "GOOD_UNTIL_CANCELLED",
    "good_til_day": "GOOD_UNTIL_DATE_TIME",
    "immediate_or_cancel": "IMMEDIATE_OR_CANCEL",
    "fill_or_kill": "FILL_OR_KILL",
}
_STATUS = {"open": "OPEN", "untriggered": "OPEN", "filled": "FILLED", "cancelled": "CANCELLED", "rejected": "FAILED"}


@dataclass(frozen=True, slots=True)
class Seen:
    """An order as this face shows it: the core's state, and what only the face knows."""

    order: Order
    product: Product
    trades: tuple[Trade, ...]
    portfolio: str
    pending_cancel: bool = False
    waiting: str = ""  # PENDING or QUEUED: accepted, not yet in the book
    edits: tuple[Row, ...] = ()
    hold: Decimal = ZERO

    @property
    def status(self) -> str:
        order = self.order
        if order.state == "cancelled" and order.cancel_reason == "expired":
            return "EXPIRED"
        if order.state == "untriggered" and order.is_secondary_oto:
            return "PENDING"  # attached to an order that is not filled yet
        if order.is_live and self.pending_cancel:
            return "CANCEL_QUEUED"
        if order.is_live and self.waiting and not order.filled:
            return self.waiting
        return _STATUS.get(order.state, "CANCELLED")

    @property
    def source(self) -> str:
        return SIMPLE if self.order.origin == SIMPLE else ADVANCED

    @property
    def in_force(self) -> str:
        return "GOOD_UNTIL_DATE_TIME" if self.order.end_ms is not None else IN_FORCE[self.order.time_in_force]

    @property
    def fees(self) -> Decimal:
        return sum((trade.fee for trade in self.trades), ZERO)

    @property
    def order_type(self) -> str:
        order = self.order
        if order.is_liquidation:
            return "LIQUIDATION"
        if order.original_order_type == "market":
            return "MARKET"
        if order.is_bracket:
            return "TAKE_PROFIT_STOP_LOSS" if order.primary_order_id else "BRACKET"
        return "STOP_LIMIT" if order.trigger is not None else "LIMIT"

    @property
    def trigger_status(self) -> str:
        if self.order.trigger is None:
            return "INVALID_ORDER_TYPE"
        return "STOP_TRIGGERED" if self.order.triggered else "STOP_PENDING"

    @property
    def total_after_fees(self) -> Decimal:
        return self.order.filled_value + self.order.sign * self.fees

    @property
    def completion(self) -> str:
        return text((self.order.filled / self.order.amount * 100).quantize(Decimal("0.01")))


def order_row(seen: Seen) -> Row:
    """One order of the historical endpoints."""
    order, product = seen.order, seen.product
    return {
        "order_id": order.order_id,
        "product_id": order.product,
        "user_id": USER_ID,
        "order_configuration": configuration_of(order, product),
        "side": order.direction.upper(),
        "client_order_id": "" if order.primary_order_id else order.label,
        "status": seen.status,
        "time_in_force": seen.in_force,
        "created_time": moment(order.created_ms),
        "completion_percentage": seen.completion,
        "filled_size": text(contracts(product, order.filled)),
        "average_filled_price": text(order.average_price or ZERO),
        "fee": "",
        "number_of_fills": str(len(seen.trades)),
        "filled_value": text(order.filled_value),
        "pending_cancel": seen.pending_cancel and order.is_live,
        "size_in_quote": False,
        "total_fees": text(seen.fees),
        "size_inclusive_of_fees": False,
        "total_value_after_fees": text(seen.total_after_fees),
        "trigger_status": seen.trigger_status,
        "order_type": seen.order_type,
        "reject_reason": "REJECT_REASON_INSUFFICIENT_FUNDS"
        if order.state == "rejected"
        else "REJECT_REASON_UNSPECIFIED",
        "settled": order.state == "filled",
        "product_type": "FUTURE" if product.kind == "future" else "SPOT",
        "reject_message": (order.cancel_reason or "") if order.state == "rejected" else "",
        "cancel_message": cancel_message(order),
        "order_placement_source": seen.source,
        "outstanding_hold_amount": text(seen.hold),
        "is_liquidation": order.is_liquidation,
        **_later_members(seen),
    }


def _later_members(seen: Seen) -> Row:
    """What the venue added to orders over the years."""
    order, product = seen.order, seen.product
    left = contracts(product, order.remaining) if order.is_live else ZERO
    return {
        "last_fill_time": moment(seen.trades[-1].at_ms) if seen.trades else None,
        "edit_history": list(seen.edits),
        "leverage": "",
        "margin_type": "UNKNOWN_MARGIN_TYPE",
        "retail_portfolio_id": seen.portfolio,
        "originating_order_id": order.primary_order_id or "",
        "attached_order_id": next(iter(order.oto_order_ids), ""),
        "attached_order_configuration": None,
        "current_pending_replace": None,
        "commission_detail_total": commission_row(product, order.filled, seen.fees),
        "workable_size": text(left),
        "workable_size_completion_pct": seen.completion,
        "last_update_time": moment(order.updated_ms),
        "cost_basis_method": "COST_BASIS_METHOD_UNSPECIFIED",
        "displayed_order_config": "UNKNOWN_DISPLAYED_ORDER_CONFIG",
    }


def cancel_message(order: Order) -> str:
    """What became of a cancelled order, in a word of the venue's."""
    known = {
        "user_request": "User requested cancel",
        "expired": "Order expired",
        "order_overlap": "Self trade prevention",
    }
    return known.get(order.cancel_reason or "", order.cancel_reason or "") if order.state == "cancelled" else ""


def commission_row(product: Product, amount: Decimal, total: Decimal) -> Row:
    """A fee by who gets it: the exchange's part is by contract."""
    venue = contracts(product, amount) * product.contract_fee
    return {
        "total_commission": text(total),
        "gst_commission": "",
        "withholding_commission": "",
        "client_commission": text(total - venue),
        "venue_commission": text(venue),
        "regulatory_commission": "",
        "clearing_commission": "",
    }


def fill_row(trade: Trade, product: Product, portfolio: str) -> Row:
    """One fill."""
    return {
        "entry_id": hashlib.sha256(trade.trade_id.encode()).hexdigest(),
        "trade_id": trade_uuid(trade),
        "order_id": trade.order_id,
        "trade_time": moment(trade.at_ms),
        "trade_type": "FILL",
        "price": text(trade.price),
        "size": text(contracts(product, trade.amount)),
        "commission": text(trade.fee),
        "product_id": trade.product,
        "sequence_timestamp": moment(trade.at_ms),
        "liquidity_indicator": "MAKER" if trade.liquidity == "M" else "TAKER",
        "size_in_quote": False,
        "user_id": USER_ID,
        "side": trade.direction.upper(),
        "retail_portfolio_id": portfolio,
        "fillSource": "FILL_SOURCE_CLOB",
        "commission_detail_total": commission_row(product, trade.amount, trade.fee),
    }


def trade_uuid(trade: Trade) -> str:
    """The trade's id on this face."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"perpctl paper trade {trade.trade_id}"))


def position_row(held: Position, product: Product, realised: Decimal) -> Row:
    """One CFM position; there is no mark, `current_price` is the FCM's valuation."""
    return {
        "product_id": product.name,
        "expiration_time": moment(product.expires_ms),
        "side": "LONG" if held.size > 0 else "SHORT" if held.size < 0 else "UNKNOWN",
        "number_of_contracts": text(contracts(product, abs(held.size))),
        "current_price": text(held.mark_price),
        "avg_entry_price": text(held.average_price.quantize(Decimal("1e-6")) if held.average_price else ZERO),
        "unrealized_pnl": text(held.total_profit_loss.quantize(Decimal("1e-6"))),
        "daily_realized_pnl": text(realised.quantize(Decimal("1e-6"))),
    }
