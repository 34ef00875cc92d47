"""This file turns the gateway's documents into our words: exact numbers, unknown words kept apart, units compared."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from perpctl.exchange.both.document import Malformed as Malformed
from perpctl.exchange.both.document import Row as Row
from perpctl.exchange.both.document import need_number as need_number
from perpctl.exchange.both.document import number as number
from perpctl.exchange.both.document import row_of as row_of
from perpctl.exchange.both.document import rows_of as rows_of
from perpctl.exchange.both.document import text as text
from perpctl.exchange.both.document import whole as whole
from perpctl.exchange.port import Candle
from perpctl.model.books.funding import FundingPayment
from perpctl.model.day import Transfer
from perpctl.model.fill import Fill
from perpctl.model.instrument import Book, BookState, Instrument, Quote
from perpctl.model.money import ZERO, parse_decimal
from perpctl.model.order import NEW_SLOT, Order, OrderStatus, OrderType, Side, TimeInForce
from perpctl.model.position import Position

_STATES = {state.value: state for state in BookState} | {
    "delivered": BookState.INACTIVE,
    "archivized": BookState.INACTIVE,
}
_TYPES = {kind.value: kind for kind in OrderType} | {"market_limit": OrderType.LIMIT}
_STATUSES = {status.value: status for status in OrderStatus}
_TIMES = {time.value: time for time in TimeInForce}
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
UNITS_TOLERANCE = Decimal("0.01")  # mark and notional of one row are not always of one instant
UNKNOWN_SLOT = NEW_SLOT  # isolated, and the venue did not say where


def _word(row: Row, name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _side(row: Row) -> Side:
    side = _SIDES.get(text(row, "direction"))
    if side is None:
        raise Malformed(f"direction {row['direction']!r} is neither buy nor sell")
    return side


def _slot(row: Row) -> int | None:
    if row.get("isolated") is not True:
        return None
    return whole(row, "user_id") if row.get("user_id") is not None else UNKNOWN_SLOT


def book_state(row: Row) -> BookState:
    return _STATES.get(str(row.get("state")), BookState.UNKNOWN)


# --- public documents ------------------------------------------------------------------------------------------------


def is_linear_perpetual(row: Row) -> bool:
    """Whether an instrument row is one we trade: never decided by its name."""
    kind = row.get("instrument_type") or row.get("future_type")
    return row.get("kind") == "future" and row.get("settlement_period") == "perpetual" and kind == "linear"


def instrument(row: Row) -> Instrument:
    """A linear perpetual. The size step is `qty_tick_size` where the venue sends it, else the contract size."""
    base, tick = text(row, "base_currency"), need_number(row, "tick_size")
    step = number(row, "qty_tick_size") or need_number(row, "contract_size")
    least = max(need_number(row, "min_trade_amount"), step)
    if tick <= 0 or step <= 0:
        raise Malformed(f"{row.get('instrument_name')}: tick or contract size is not positive")
    return Instrument(
        product_id=text(row, "instrument_name"),
        symbol=f"{base}-PERP",
        base=base,
        currency=_word(row, "settlement_currency") or text(row, "quote_currency"),
        tick=tick,
        size_step=step,
        min_size=least,
        maker_fee=need_number(row, "maker_commission"),
        taker_fee=need_number(row, "taker_commission"),
        max_leverage=number(row, "max_leverage"),
        state=book_state(row) if row.get("is_active", True) else BookState.INACTIVE,
        price_decimals=_decimals(tick),
        size_decimals=_decimals(step),
    )


def _decimals(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))


def quote(row: Row, seen: float) -> Quote:
    """From `public/ticker`, `public/get_order_book` or a ticker frame. A price of zero is an absent one."""
    return Quote(
        product_id=text(row, "instrument_name"),
        bid=_price(row, "best_bid_price"),
        bid_size=number(row, "best_bid_amount"),
        ask=_price(row, "best_ask_price"),
        ask_size=number(row, "best_ask_amount"),
        mark=_price(row, "mark_price"),
        index=_price(row, "index_price"),
        last=_price(row, "last_price"),
        band_low=_price(row, "min_price"),
        band_high=_price(row, "max_price"),
        funding_8h=number(row, "funding_8h"),
        current_funding=number(row, "current_funding"),
        open_interest=number(row, "open_interest"),
        state=book_state(row),
        at_ms=whole(row, "timestamp"),
        seen=seen,
    )


def _price(row: Row, name: str) -> Decimal | None:
    value = number(row, name)
    return value if value else None


def book(row: Row, seen: float, depth: int) -> Book:
    """From `public/get_order_book`: rows of price and amount, best first."""
    return Book(
        product_id=text(row, "instrument_name"),
        bids=_levels(row.get("bids"), depth),
        asks=_levels(row.get("asks"), depth),
        change_id=whole(row, "change_id"),
        at_ms=whole(row, "timestamp"),
        seen=seen,
    )


def _levels(rows: object, depth: int) -> tuple[tuple[Decimal, Decimal], ...]:
    if not isinstance(rows, list):
        raise Malformed("a side of the book is not a list")
    try:
        return tuple((parse_decimal(level[0]), parse_decimal(level[1])) for level in rows[:depth])
    except (ValueError, TypeError, LookupError) as why:
        raise Malformed(f"a level of the book cannot be read: {why}") from None


def candles(row: Row) -> tuple[Candle, ...]:
    """From `public/get_tradingview_chart_data`: columns of one length, or Malformed."""
    if row.get("status") == "no_data":
        return ()
    names = ("ticks", "open", "high", "low", "close", "volume")
    columns = [row.get(name) for name in names]
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) != 1:  # type: ignore[arg-type]
        raise Malformed("the candle columns differ in length")
    try:
        cells = [[parse_decimal(cell) for cell in column] for column in columns]  # type: ignore[union-attr]
    except ValueError as why:
        raise Malformed(f"a candle cannot be read: {why}") from None
    return tuple(Candle(int(at), *rest) for at, *rest in zip(*cells, strict=True))


# --- private documents -----------------------------------------------------------------------------------------------


def order(row: Row) -> Order:
    """An order as reported. What the venue calls limit but was sent as market is a market order (Coinbase docs)."""
    kind = _TYPES.get(_word(row, "original_order_type") or text(row, "order_type"), OrderType.OTHER)
    status = _STATUSES.get(text(row, "order_state"), OrderStatus.UNKNOWN)
    size = need_number(row, "amount")
    filled = _filled(row, status)
    return Order(
        order_id=text(row, "order_id"),
        identity=_word(row, "label"),
        product_id=text(row, "instrument_name"),
        side=_side(row),
        type=kind,
        status=status,
        size=size,
        filled=filled,
        price=None if row.get("price") == "market_price" else number(row, "price"),
        average_price=number(row, "average_price") if filled else None,
        reduce_only=row.get("reduce_only") is True,
        post_only=row.get("post_only") is True,
        trigger_price=number(row, "trigger_price"),
        trigger=_word(row, "trigger"),
        created_ms=whole(row, "creation_timestamp"),
        updated_ms=whole(row, "last_update_timestamp"),
        time_in_force=_TIMES.get(str(row.get("time_in_force"))),
        slot=_slot(row),
        cancel_reason=_word(row, "cancel_reason"),
        origin=_origin(row),
    )


def _filled(row: Row, status: OrderStatus) -> Decimal:
    """What is filled; an order that waits for its trigger is reported without it (seen live), and has nothing."""
    filled = number(row, "filled_amount")
    if filled is not None:
        return filled
    if status in (OrderStatus.UNTRIGGERED, OrderStatus.REJECTED) or row.get("trigger_price") is not None:
        return ZERO
    raise Malformed(f"order {row.get('order_id')}: filled_amount is missing")


def _origin(row: Row) -> str | None:
    if row.get("is_liquidation") is True:
        return "liquidation"
    return next((name for name in ("api", "web", "mobile") if row.get(name) is True), None)


def fill(row: Row) -> Fill:
    """One trade of ours."""
    return Fill(
        trade_id=text(row, "trade_id"),
        order_id=text(row, "order_id"),
        identity=_word(row, "label"),
        product_id=text(row, "instrument_name"),
        side=_side(row),
        size=need_number(row, "amount"),
        price=need_number(row, "price"),
        fee=need_number(row, "fee"),
        fee_currency=text(row, "fee_currency"),
        liquidity=_word(row, "liquidity"),
        at_ms=whole(row, "timestamp"),
        trade_seq=whole(row, "trade_seq"),
        slot=_slot(row),
        liquidation=bool(row.get("liquidation")) or row.get("order_type") == "liquidation",
        mark=number(row, "mark_price"),
        index=number(row, "index_price"),
    )


def position(row: Row, seen: float, at_ms: int) -> Position:
    """A position; its size is `size_currency`, and `size` (notional) and `delta` must agree with it."""
    base, notional, delta = number(row, "size_currency"), number(row, "size"), number(row, "delta")
    mark = _price(row, "mark_price")
    size = next((value for value in (base, delta) if value is not None), None)
    if size is None:
        raise Malformed(f"position in {row.get('instrument_name')}: neither size_currency nor delta is there")
    return Position(
        product_id=text(row, "instrument_name"),
        slot=_slot(row),
        size=size,
        entry_price=_price(row, "average_price"),
        mark=mark,
        index=_price(row, "index_price"),
        notional=notional,
        unrealized=number(row, "floating_profit_loss"),
        realized=number(row, "realized_profit_loss"),
        funding=number(row, "realized_funding"),
        initial_margin=number(row, "initial_margin"),
        maintenance_margin=number(row, "maintenance_margin"),
        leverage=number(row, "leverage"),
        units_agree=base is not None and _units_agree(base, notional, delta, mark, str(row.get("direction"))),
        at_ms=at_ms,
        seen=seen,
        underlying=_underlying(text(row, "instrument_name")),
    )


def _underlying(name: str) -> str:
    """The coin that a product's name begins with: BTC_USDC-PERPETUAL, BTC-29JAN27."""
    return name.split("_")[0].split("-")[0]


def _units_agree(
    base: Decimal, notional: Decimal | None, delta: Decimal | None, mark: Decimal | None, direction: str
) -> bool:
    if notional is None or mark is None:
        return False
    if base and direction != ("buy" if base > 0 else "sell"):
        return False
    if delta is not None and not _near(delta, base):
        return False
    return _near(abs(notional), abs(base) * mark)


def _near(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= UNITS_TOLERANCE * max(abs(one), abs(other))


def is_flat(row: Row) -> bool:
    """Whether every size member that is there is zero; no member at all is not flat but unknown."""
    sizes = [value for name in ("size_currency", "size") if (value := number(row, name)) is not None]
    return bool(sizes) and not any(sizes)


MOVES = frozenset({"deposit", "withdrawal", "transfer", "swap"})  # "LSP transfer" and its like move positions


class Move(Struct, frozen=True):
    """A transfer in the ledger of one account, and the account on its other side, where the row names one."""

    transfer: Transfer
    other_id: int | None


def move(row: Row) -> Move | None:
    """Cash that came or went, from the transaction log: `change` is cash, signed; None for every other row."""
    if row.get("type") not in MOVES:
        return None
    info = row.get("info")
    other_id = (
        whole(info, "other_user_id") if isinstance(info, dict) and info.get("other_user_id") is not None else None
    )
    found = Transfer(str(whole(row, "id")), need_number(row, "change"), text(row, "currency"), whole(row, "timestamp"))
    return Move(found, other_id)


def settlement(row: Row, slot: int | None) -> FundingPayment | None:
    """The funding of a day's settlement row in the transaction log; None for every other row.

    Trade rows carry interest of the same session, which the settlement row has already summed (Deribit docs).
    """
    if row.get("type") != "settlement" or row.get("total_interest_pl") is None:
        return None
    return FundingPayment(
        product_id=text(row, "instrument_name"),
        amount=need_number(row, "total_interest_pl"),
        currency=text(row, "currency"),
        at_ms=whole(row, "timestamp"),
        row_id=str(whole(row, "id")),
        exact=True,
        slot=slot,
    )
