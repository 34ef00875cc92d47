"""This file knows the refusals by name: Deribit's codes, from the complete error table of its docs."""

from typing import Any

from perpctl.paper.types import Rejected

CODES = {
    "order_not_found": 10004, "price_too_low": 10005, "price_too_high": 10007, "not_enough_funds": 10009,
    "already_closed": 10010, "book_closed": 10012,
    "invalid_or_unsupported_instrument": 10020, "invalid_amount": 10021, "invalid_price": 10023,
    "not_owner_of_order": 10029, "settlement_in_progress": 10041, "price_wrong_tick": 10043,
    "invalid_max_show_amount": 10036, "trigger_price_wrong_tick": 10044, "can_not_cancel_liquidation_order": 10045,
    "can_not_edit_liquidation_order": 10046, "disabled_while_position_lock": 10072,
    "other_reject": 11030, "no_more_triggers": 11035, "invalid_trigger_price": 11036,
    "not_open_order": 11044, "unsupported_arg_combination": 11047, "system_maintenance": 11051,
    "post_only_reject": 11054, "post_only_not_allowed": 11055, "account_locked": 11098,
    "too_many_subaccounts": 12001, "transfer_not_allowed": 12100, "user_not_found": 13007,
    "timed_out": 13888, "no_more_oto_orders": 13901,
    "insufficient_isolated_margin": 14033, "insufficient_cleared_balance": 14034, "invalid_params": -32602,
}  # fmt: skip


def refusal(name: str, detail: str | None = None, data: dict[str, Any] | None = None) -> Rejected:
    """The refusal of that name with its code in the Deribit docs' complete error table."""
    return Rejected(CODES[name], name, detail, data)
