"""This file lists the US face's products and rules: CDE futures through Coinbase Financial Markets, in USD.

Sizes, ticks and margin rates of BIP and BIT are those of a capture of 7 April 2026; the codes and contract sizes of
ETP and SLP are published ones, their rates ours. Fees were measured from fills in August 2026 (tier Advanced 3: 8 and
7.5 bps of notional, and 0.14 USD a contract). The contracts trade around the clock but for Friday 17:00 to 18:00 New
York; the exchange's price band is a number of ticks around the last price.
"""

from decimal import ROUND_FLOOR, Decimal

from msgspec.structs import replace

from perpctl.paper.terms.calendar import Calendar
from perpctl.paper.terms.listing import ExchangeRules, Product, Rates
from perpctl.paper.types import Print, Tick

D = Decimal
NEVER_MS = 32_503_708_800_000
Z30_MS = 1_924_012_800_000  # 2030-12-20 16:00 UTC

BIP = Product(
    name="BIP-20DEC30-CDE",
    kind="future",
    instrument_type="linear",
    settlement_period="perpetual",
    base="BTC",
    quote="USD",
    settle="USD",
    price_index="btc_usd",
    tick=D(5),
    contract_size=D("0.01"),
    min_amount=D("0.01"),
    maker_fee=D("0.00075"),
    taker_fee=D("0.0008"),
    contract_fee=D("0.14"),
    liquidation_fee=D("0.0008"),
    max_leverage=10,
    instrument_id=1,
    index_id=1,
    group="BTC",
    lot_size=1,
    created_ms=1_753_056_000_000,
    expires_ms=Z30_MS,
    band=D("0.1"),
    band_ticks=500,
    initial_rate=D("0.3"),
    maintenance_rate=D("0.27"),
    rate_per_coin=D(0),
    day_rates=Rates(D("0.1000185"), D("0.1000008")),
    night_rates=Rates(D("0.245625"), D("0.306375")),
    maintenance_share=D("0.9"),
    keeps_hours=True,
    start_price=D(84100),
)
ETP = replace(
    BIP, name="ETP-20DEC30-CDE", base="ETH", price_index="eth_usd", tick=D("0.5"), contract_size=D("0.1"),
    min_amount=D("0.1"), instrument_id=2, index_id=2, group="ETH", start_price=D(2610),
    night_rates=Rates(D("0.2812"), D("0.3415")),
)  # fmt: skip
SLP = replace(
    BIP, name="SLP-20DEC30-CDE", base="SOL", price_index="sol_usd", tick=D("0.01"), contract_size=D(5),
    min_amount=D(5), instrument_id=3, index_id=3, group="SOL", start_price=D(142), band_ticks=1500,
    night_rates=Rates(D("0.3275"), D("0.3925")),
)  # fmt: skip
BIT = replace(
    BIP, name="BIT-25JUN27-CDE", settlement_period="month", instrument_id=4, expires_ms=1_813_935_600_000,
    created_ms=1_790_496_021_000, start_price=D(86600), day_rates=Rates(D("0.0999375"), D("0.1001096")),
    night_rates=Rates(D("0.234375"), D("0.289")),
)  # fmt: skip
BTC_USD = replace(
    BIP, name="BTC-USD", kind="spot", settlement_period="", tick=D("0.01"), contract_size=D("0.00000001"),
    min_amount=D("0.00000001"), contract_fee=D(0), max_leverage=1, instrument_id=5, expires_ms=NEVER_MS, band_ticks=0,
    day_rates=None, night_rates=None, initial_rate=D(1), keeps_hours=False, tradable=False,
)  # fmt: skip

US_PRODUCTS = (BIP, ETP, SLP, BIT, BTC_USD)

# NYSE holidays, on which there is no intraday margin window; the past ones are for replays.
HOLIDAYS = (
    "2022-01-17", "2022-02-21", "2022-04-15", "2022-05-30", "2022-06-20", "2022-07-04", "2022-09-05", "2022-11-24",
    "2022-12-26", "2023-01-02", "2023-01-16", "2023-02-20", "2023-04-07", "2023-05-29", "2023-06-19", "2023-07-04",
    "2023-09-04", "2023-11-23", "2023-12-25", "2024-01-01", "2024-01-15", "2024-02-19", "2024-03-29", "2024-05-27",
    "2024-06-19", "2024-07-04", "2024-09-02", "2024-11-28", "2024-12-25", "2025-01-01", "2025-01-09", "2025-01-20",
    "2025-02-17", "2025-04-18", "2025-05-26", "2025-06-19", "2025-07-04", "2025-09-01", "2025-11-27", "2025-12-25",
    "2026-01-01", "2026-01-19", "2026-02-16", "2026-04-03", "2026-05-25", "2026-06-19", "2026-07-03", "2026-09-07",
    "2026-11-26", "2026-12-25", "2027-01-01", "2027-01-18", "2027-02-15", "2027-03-26", "2027-05-31", "2027-06-18",
    "2027-07-05", "2027-09-06", "2027-11-25", "2027-12-24",
)  # fmt: skip

US_RULES = ExchangeRules(
    currency="USD",
    start_balance=D(100_000),
    start_wallet=D(25_000),
    first_order_no=70_000_001,
    first_trade_no=995_098_663,
    first_trade_seq=4_400_001,
    first_slot_id=900_001,
    settlement_minute=0,
    settlement_ms=0,
    calendar=Calendar(
        roll_hour=17, booking_hours=(12, 17), day_margin=(8, 16), stop_day=4, stop=(17, 18), holidays=HOLIDAYS
    ),
    hourly_funding=True,
    stable_ids=True,
    longest_label=128,
    funding_damper=D(0),
    funding_cap=D("0.005"),
    ladder_levels=25,
    recent_orders_ms=400 * 24 * 3_600_000,
    recent_trades_ms=400 * 24 * 3_600_000,
    archive_delay_ms=0,
    unfilled_kept_ms=30 * 24 * 3_600_000,
    max_slots=0,
    max_triggers=500,
    liquidation_share=D("0.2"),
)

# What a product's market is made from: the base coin's tick of the feed, times this.
_BASIS = {"BIT-25JUN27-CDE": D("1.03")}


def follow(tick: Tick, base: str) -> list[Tick]:
    """The ticks of the US products on a coin, from that coin's tick of the feed."""
    return [_made_from(tick, product) for product in US_PRODUCTS if product.base == base]


def _made_from(tick: Tick, product: Product) -> Tick:
    basis, step = _BASIS.get(product.name, D(1)), product.tick
    middle = (tick.bid + tick.ask) / 2 * basis
    if product.kind == "spot":
        middle = middle * tick.index / tick.mark
    bid = max(step, (middle / step).to_integral_value(ROUND_FLOOR) * step)
    ask = bid + step

    def amount(of: Decimal) -> Decimal:
        return max(product.min_amount, (of / product.contract_size).to_integral_value() * product.contract_size)

    prints = tuple(Print(p.direction, ask if p.direction == "buy" else bid, amount(p.amount)) for p in tick.prints)
    cents = D("0.000001")
    mark, index = (tick.mark * basis).quantize(cents), tick.index.quantize(cents)
    if product.kind == "spot":
        mark = index
    return Tick(
        product.name, tick.at_ms, bid, ask, amount(tick.bid_amount), amount(tick.ask_amount), index, mark, prints
    )
