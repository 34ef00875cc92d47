"""The short ways of counting an order's margin come to what counting everything afresh comes to."""

from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from perpctl.paper.floor.account import Account, Holding, equity, initial_margin, shortfall
from perpctl.paper.floor.market import Market, new_market
from perpctl.paper.products import BTC, ETH, GATEWAY_RULES
from perpctl.paper.terms.us import US_PRODUCTS
from perpctl.paper.types import Direction, Order, Product
from tests.paper.core.conftest import START_MS

D = Decimal
BY_DIRECTION = next(product for product in US_PRODUCTS if product.night_rates is not None)
UNEVEN = replace(BY_DIRECTION, night_rates=replace(BY_DIRECTION.night_rates, long=D("0.1"), short=D("0.4")))

lots = st.integers(-30, 30)
others = st.lists(st.tuples(st.booleans(), lots.filter(bool), st.booleans()), max_size=5)


def waiting(number: int, product: Product, size: Decimal, *, reduce_only: bool) -> Order:
    direction: Direction = "buy" if size > 0 else "sell"
    return Order(
        order_id=f"o{number}",
        account_id=7,
        product=product.name,
        direction=direction,
        order_type="limit",
        time_in_force="good_til_cancelled",
        price=product.start_price,
        amount=abs(size),
        state="open",
        reduce_only=reduce_only,
        created_ms=START_MS,
        updated_ms=START_MS,
    )


def reckoned(account: Account, markets: dict[str, Market], orders: dict[str, Order]) -> Decimal:
    """Of each product the dearest of: the position, it with every buy filled, it with every sell filled."""
    total = D(0)
    for name, market in markets.items():
        binding = [order for order in orders.values() if order.product == name and not order.reduce_only]
        size = account.size(name)
        buys = sum((order.amount for order in binding if order.sign > 0), D(0))
        sells = sum((order.amount for order in binding if order.sign < 0), D(0))
        total += max(initial_margin(account, market, one) for one in (size, size + buys, size - sells))
    return total


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from((BTC, UNEVEN)), lots, lots, others, lots.filter(bool), st.sampled_from((None, 2, 20)))
def test_what_an_order_lacks_is_what_everything_counted_afresh_says(
    product: Product,
    held: int,
    beside: int,
    resting: list[tuple[bool, int, bool]],
    asked: int,
    leverage: int | None,
) -> None:
    step = {name.name: name.min_amount for name in (product, ETH)}
    markets = {one.name: new_market(one, GATEWAY_RULES, START_MS) for one in (product, ETH)}
    account = Account(7, "desk", START_MS, balance=D(100))
    for name, size in ((product.name, held), (ETH.name, beside)):
        if size:
            signed = size * step[name]
            account.holdings[name] = Holding(size=signed, session_cost=signed * markets[name].mark)
    account.leverage = {product.name: leverage} if leverage else {}
    rows = [
        waiting(number, product if mine else ETH, size * (product if mine else ETH).min_amount, reduce_only=reducing)
        for number, (mine, size, reducing) in enumerate(resting)
    ]
    orders = {order.order_id: order for order in rows}
    for order in rows:
        markets[order.product].book.rest(order)
        markets[order.product].book.rest(replace(order, order_id=f"{order.order_id}-theirs", account_id=8))
    new = waiting(99, product, asked * product.min_amount, reduce_only=False)

    before = reckoned(account, markets, orders)
    after = reckoned(account, markets, {**orders, "new": new})
    fee = product.fee(product.taker_fee, new.amount, markets[product.name].mark)
    expected = max(D(0), after + fee - equity(account, markets)) if after > before else D(0)
    assert shortfall(account, markets, new.sign * new.amount, markets[product.name]) == expected
