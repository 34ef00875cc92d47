"""This file writes what is past as the gateway's JSON rows: the log, settlements, forced transfers, triggers."""

from __future__ import annotations

from perpctl.paper.events import ForcedTransfer
from perpctl.paper.gateway.rows import Row, money, present
from perpctl.paper.types import LedgerRow, SettlementRow, TriggerRecord


def transaction(item: LedgerRow) -> Row:
    """A row of the transaction log. Members of a kind that a row has no use for are null, as in the docs."""
    is_forced = item.role in ("source", "destination")
    row: Row = {
        "id": item.id,
        "user_seq": item.user_seq,
        "user_id": item.account_id,
        "username": item.username,
        "timestamp": item.at_ms,
        "type": item.type,
        "currency": item.currency,
        "change": money(item.change),
        "cashflow": money(item.cashflow),
        "balance": money(item.balance),
        "equity": money(item.equity),
        "commission": None if item.type == "settlement" else money(item.commission),
        "info": _info(item),
        "instrument_name": item.product,
        "side": item.side or "-",
        "price": item.price,
        "position": item.position,
        "trade_id": item.trade_id,
        "order_id": item.order_id,
        "interest_pl": None if item.interest_pl is None else money(item.interest_pl),
    }
    extra: Row = {
        "amount": item.amount,
        "price_currency": None if item.product is None else item.currency,
        "mark_price": item.mark_price,
        "index_price": item.index_price,
        "settlement_price": item.settlement_price,
        "role" if is_forced else "user_role": item.role,
        "fee_role": None if is_forced else item.role,
        "profit_as_cashflow": False if item.type == "trade" else None,
        "session_rpl": None if item.session_rpl is None else money(item.session_rpl),
        "session_upl": None if item.session_upl is None else money(item.session_upl),
        "total_interest_pl": None if item.total_interest_pl is None else money(item.total_interest_pl),
    }
    return {**row, **present(extra)}


def _info(item: LedgerRow) -> Row | str | None:
    """What a row of that type says beside its members: an object, a text or nothing, as in the docs."""
    if item.type == "trade":
        return "Source: api"
    if item.type == "settlement":
        return {"settlement_price": item.settlement_price, "floating_pl": item.session_upl and money(item.session_upl)}
    if item.type == "transfer":
        return {
            "transfer_type": "subaccount",
            "other_user_id": item.other_account,
            "other_user": item.other_username,
        }
    return {"deposit_type": "wallet"} if item.type == "deposit" else None


def forced(item: ForcedTransfer, currency: str, at_ms: int) -> Row:
    """A forced transfer as the liquidation channels tell it."""
    return {
        "state": f"{item.kind.lower()}_transfer{'_received' if item.taken else ''}",
        "user_id": item.account_id,
        "instrument_name": item.product,
        "direction": item.direction,
        "amount": item.amount,
        "price": item.price,
        "currency": currency.lower(),
        "commission": money(item.commission),
        "timestamp": at_ms,
    }


def settlement(item: SettlementRow) -> Row:
    """A row of the settlement history."""
    return {
        "type": item.type,
        "timestamp": item.at_ms,
        "instrument_name": item.product,
        "position": item.position,
        "mark_price": item.mark_price,
        "index_price": item.index_price,
        "funding": money(item.funding),
        "session_profit_loss": money(item.session_profit_loss),
        "profit_loss": money(item.profit_loss),
    }


def trigger_record(item: TriggerRecord) -> Row:
    """A row of the trigger order history."""
    made = item.order
    row: Row = {
        "timestamp": item.at_ms,
        "last_update_timestamp": made.updated_ms,
        "trigger": made.trigger,
        "trigger_price": made.trigger_price,
        "trigger_offset": made.trigger_offset,
        "trigger_order_id": made.order_id,
        "order_id": item.order_id,
        "order_state": item.state,
        "request": item.request,
        "instrument_name": made.product,
        "direction": made.direction,
        "price": "market_price" if made.price is None else made.price,
        "amount": made.amount,
        "reduce_only": made.reduce_only,
        "post_only": made.post_only,
        "order_type": "market" if made.order_type.endswith("_market") else "limit",
        "label": made.label,
        "is_secondary_oto": made.is_secondary_oto or None,
        "oco_ref": made.oco_ref,
    }
    return present(row)
