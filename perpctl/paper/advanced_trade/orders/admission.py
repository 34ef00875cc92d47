"""This file judges orders as Coinbase's pre-trade checks do: the reasons of a preview, and those of a refusal.

A refusal carries a NewOrderFailureReason; where that enum knows nothing fitting it says UNKNOWN_FAILURE_REASON and only
the preview reason tells, as captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.paper.advanced_trade.listing import BASE_MAX
from perpctl.paper.advanced_trade.orders.configuration import Wish
from perpctl.paper.advanced_trade.reading import ApiError, number
from perpctl.paper.types import Product, Rejected

if TYPE_CHECKING:
    from perpctl.paper.advanced_trade.face import AdvancedTrade

UNKNOWN = "UNKNOWN_FAILURE_REASON"
REFUSED_KINDS = ("twap_limit_gtd", "scaled_limit_gtc")
LONGEST_END_MS = 90 * 24 * 3_600_000  # judged: the docs say only that an end can be too far


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not: the preview's word (without its prefix) and that of a refused order."""

    preview: str
    order: str = UNKNOWN
    message: str = ""

    @property
    def preview_word(self) -> str:
        return f"PREVIEW_{self.preview}"


UNSUPPORTED = Reason("INVALID_ORDER_CONFIG", "UNSUPPORTED_ORDER_CONFIGURATION", "source is not enabled for trading")
SHUT = Reason("INVALID_FCM_TRADING_SESSION", "INVALID_FCM_TRADING_SESSION", "the trading session is closed")
FUNDS = Reason("INSUFFICIENT_FUNDS_FOR_FUTURES", "INSUFFICIENT_FUND", "Insufficient balance in source account")

# The core's refusals in this face's words.
FROM_CORE = {
    "not_enough_funds": FUNDS,
    "book_closed": SHUT,
    "settlement_in_progress": SHUT,
    "system_maintenance": Reason("TRADING_DISABLED", "ORDER_ENTRY_DISABLED", "trading is disabled"),
    "account_locked": Reason("IN_LIQUIDATION", "IN_LIQUIDATION", "the account is being liquidated"),
    "disabled_while_position_lock": Reason("CLOSE_ONLY_FAILURE"),
    "post_only_reject": Reason("INVALID_LIMIT_PRICE_POST_ONLY", "INVALID_LIMIT_PRICE_POST_ONLY"),
    "price_too_high": Reason("LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY", "INVALID_LIMIT_PRICE"),
    "price_too_low": Reason("LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_SELL", "INVALID_LIMIT_PRICE"),
    "invalid_amount": Reason("INVALID_SIZE_PRECISION", "INVALID_SIZE_PRECISION"),
    "price_wrong_tick": Reason("INVALID_PRICE_PRECISION", "INVALID_PRICE_PRECISION"),
    "invalid_price": Reason("INVALID_LIMIT_PRICE", "INVALID_LIMIT_PRICE"),
    "invalid_or_unsupported_instrument": Reason("UNTRADABLE_PRODUCT", "UNTRADABLE_PRODUCT"),
    "no_more_triggers": Reason("INVALID_ORDER_CONFIG", "COMMANDER_REJECTED_NEW_ORDER", "too many open orders"),
}


def from_core(no: Rejected) -> Reason:
    """A refusal of the core as a reason."""
    return FROM_CORE.get(no.name, Reason("RISK_PROXY_FAILURE", "COMMANDER_REJECTED_NEW_ORDER", str(no)))


def judge(face: AdvancedTrade, account: int, wish: Wish) -> list[Reason]:
    """What speaks against an order before the exchange sees it; margin is the exchange's own to judge."""
    product = face.exchange.products.get(wish.product_id)
    if product is None:
        return [Reason("INVALID_PRODUCT_ID", "INVALID_PRODUCT_ID", f"no such product: {wish.product_id}")]
    if wish.side not in ("BUY", "SELL"):
        return [Reason("INVALID_SIDE", "INVALID_SIDE")]
    if wish.kind in REFUSED_KINDS or (wish.kind == "sor_limit_ioc" and not face.switches.limit_ioc):
        return [UNSUPPORTED]
    if not product.tradable:
        return [FROM_CORE["invalid_or_unsupported_instrument"]]
    state = face.exchange.ticker(product.name).state
    if state != "open":
        return [SHUT]
    return (
        _size(product, wish)
        or _prices(face, product, wish)
        or _ends(face, wish)
        or _bracketed(face, account, product, wish)
        or _attached(face, product, wish)
    )


def _size(product: Product, wish: Wish) -> list[Reason]:
    if wish.terms.get("reduce_only"):
        return [Reason("REDUCE_ONLY_NOT_ALLOWED_ON_VENUE", message="reduce only is not allowed on this venue")]
    if wish.terms.get("quote_size"):
        return [Reason("QUOTE_ORDERS_NOT_ALLOWED_FOR_PRODUCT", "UNSUPPORTED_ORDER_CONFIGURATION")]
    size = wish.size
    if size is None:
        return [Reason("NON_NUMERIC_ORDER_SIZE", "INVALID_REQUEST", "order size is missing or no number")]
    if size != size.to_integral_value():
        return [Reason("INVALID_SIZE_PRECISION", "INVALID_SIZE_PRECISION", "Too many decimals in order amount")]
    if size < 1:
        return [Reason("INVALID_BASE_SIZE_TOO_SMALL", message="Invalid base size: too small")]
    if size > BASE_MAX:
        return [Reason("INVALID_BASE_SIZE_TOO_LARGE", message="Invalid base size: too large")]
    return []


def _prices(face: AdvancedTrade, product: Product, wish: Wish) -> list[Reason]:
    if wish.is_market:
        return []
    limit, stop = wish.limit, wish.stop
    if limit is None or limit <= 0:
        return [Reason("INVALID_LIMIT_PRICE", "INVALID_LIMIT_PRICE", "Invalid limit price")]
    if limit % product.tick:
        return [Reason("INVALID_LIMIT_PRICE_PRECISION", "INVALID_PRICE_PRECISION", "Too many decimals in order price")]
    if wish.is_bracket:
        return _bracket_prices(face, product, wish, limit)
    if wish.is_stop:
        return _stop_prices(face, product, wish, limit, stop)
    return []


def _stop_prices(
    face: AdvancedTrade, product: Product, wish: Wish, limit: Decimal, stop: Decimal | None
) -> list[Reason]:
    way, last = wish.terms.get("stop_direction"), face.exchange.ticker(product.name).last_price
    if stop is None or stop <= 0:
        return [Reason("INVALID_STOP_PRICE", message="Invalid stop price")]
    if stop % product.tick:
        return [Reason("INVALID_STOP_PRICE_PRECISION", "INVALID_PRICE_PRECISION")]
    if way not in ("STOP_DIRECTION_STOP_UP", "STOP_DIRECTION_STOP_DOWN"):
        return [Reason("INVALID_ORDER_CONFIG", "UNSUPPORTED_ORDER_CONFIGURATION", "stop_direction is missing")]
    falls = way == "STOP_DIRECTION_STOP_DOWN"
    if falls and stop >= last:
        return [Reason("STOP_PRICE_ABOVE_LAST_TRADE_PRICE")]
    if not falls and stop <= last:
        return [Reason("STOP_PRICE_BELOW_LAST_TRADE_PRICE")]
    if wish.side == "SELL" and falls and stop < limit:
        return [Reason("STOP_PRICE_BELOW_LIMIT_PRICE")]
    if wish.side == "BUY" and not falls and stop > limit:
        return [Reason("STOP_PRICE_ABOVE_LIMIT_PRICE")]
    return []


def _bracket_prices(face: AdvancedTrade, product: Product, wish: Wish, limit: Decimal) -> list[Reason]:
    stop, last = wish.stop, face.exchange.ticker(product.name).last_price
    if stop is None or stop <= 0 or stop % product.tick:
        return [Reason("INVALID_BRACKET_STOP_TRIGGER_PRICE", message="Invalid stop trigger price")]
    if not (limit - last) * wish.sign < 0 < (stop - last) * wish.sign:
        return [Reason("INVALID_BRACKET_PRICES", message="Bracket prices must lie on both sides of the market")]
    return []


def _ends(face: AdvancedTrade, wish: Wish) -> list[Reason]:
    if not wish.kind.endswith("gtd"):
        return []
    try:
        end_ms = wish.end_ms
    except ApiError:
        return [Reason("INVALID_END_TIME", "INVALID_REQUEST", "end_time cannot be read")]
    if end_ms is None:
        return [Reason("GTD_ORDERS_MUST_HAVE_END_TIME", "INVALID_REQUEST")]
    if end_ms <= face.exchange.now:
        return [Reason("END_TIME_IS_IN_THE_PAST", "INVALID_REQUEST")]
    if end_ms > face.exchange.now + LONGEST_END_MS:
        return [Reason("END_TIME_TOO_FAR_IN_FUTURE", "INVALID_REQUEST")]
    return []


def _attached(face: AdvancedTrade, product: Product, wish: Wish) -> list[Reason]:
    """A bracket that each fill brings along: without a size of its own, around the price that the order may get."""
    if not wish.attached:
        return []
    if not (wish.is_market or wish.kind.startswith("limit_limit")):
        return [Reason("ATTACHED_ORDERS_ONLY_ALLOWED_ON_MARKET_LIMIT", "UNSUPPORTED_ORDER_CONFIGURATION")]
    if wish.attached.get("base_size"):
        return [Reason("ATTACHED_ORDER_SIZE_MUST_BE_NIL")]
    profit, stop = number(wish.attached.get("limit_price")), number(wish.attached.get("stop_trigger_price"))
    if profit is None or stop is None or profit <= 0 or stop <= 0:
        return [Reason("ATTACHED_ORDER_MUST_HAVE_POSITIVE_PRICES")]
    if profit % product.tick:
        return [Reason("INVALID_ATTACHED_TAKE_PROFIT_PRICE_PRECISION")]
    if stop % product.tick:
        return [Reason("INVALID_ATTACHED_STOP_LOSS_PRICE_PRECISION")]
    last = face.exchange.ticker(product.name).last_price
    price = last if wish.is_market or wish.limit is None else wish.limit
    if (profit - price) * wish.sign <= 0:
        return [Reason(f"ATTACHED_TAKE_PROFIT_PRICE_TOO_{'LOW' if wish.sign > 0 else 'HIGH'}")]
    if (stop - price) * wish.sign >= 0:
        return [Reason(f"ATTACHED_STOP_LOSS_PRICE_TOO_{'HIGH' if wish.sign > 0 else 'LOW'}")]
    return []


def _bracketed(face: AdvancedTrade, account: int, product: Product, wish: Wish) -> list[Reason]:
    """What rests as a bracket holds its part of the position: nothing else may close that."""
    position = face.exchange.position(account, product.name).size
    closes = position * wish.sign < 0
    amount = (wish.size or Decimal(0)) * product.contract_size
    held = [order for order in face.exchange.open_orders(account) if order.product == product.name]
    closing = [
        order.remaining for order in held if order.is_bracket and order.state == "open" and order.sign * position < 0
    ]
    free = abs(position) - sum(closing, Decimal(0))
    if wish.is_bracket and not closes:
        return [Reason("INVALID_BRACKET_ORDER_SIDE", message="A bracket closes a position")]
    if wish.is_bracket and amount > free:
        return [Reason("BRACKET_ORDER_SIZE_EXCEEDS_POSITION")]
    if closes and not wish.is_stop and free < abs(position) and amount > free:
        return [Reason("ORDER_SIZE_EXCEEDS_BRACKETED_POSITION")]
    return []
