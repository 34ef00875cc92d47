"""This file lists the gateway's instruments and the rules of that venue, as captured in September 2026."""

from decimal import Decimal

from perpctl.paper.types import ExchangeRules, Product

D = Decimal
NEVER_MS = 32_503_708_800_000

BTC = Product(
    name="BTC_USDC-PERPETUAL",
    kind="future",
    instrument_type="linear",
    settlement_period="perpetual",
    base="BTC",
    quote="USDC",
    settle="USDC",
    price_index="btc_usdc",
    tick=D("0.1"),
    contract_size=D("0.0001"),
    min_amount=D("0.0001"),
    maker_fee=D("0.00015"),
    taker_fee=D("0.00035"),
    liquidation_fee=D("0.0075"),
    max_leverage=50,
    instrument_id=211704,
    index_id=1000004,
    group="BTC",
    lot_size=1,
    created_ms=1646824342000,
    expires_ms=NEVER_MS,
    band=D("0.015"),
    initial_rate=D("0.02"),
    maintenance_rate=D("0.01"),
    rate_per_coin=D("0.00005"),
    start_price=D("84100"),
)


def _like_btc(**changes: object) -> Product:
    """BTC's row with other members."""
    return Product(**({name: getattr(BTC, name) for name in Product.__struct_fields__} | changes))


ETH = _like_btc(
    name="ETH_USDC-PERPETUAL", base="ETH", price_index="eth_usdc", tick=D("0.01"), instrument_id=211305,
    index_id=2000004, group="ETH", lot_size=10, created_ms=1647262800000, rate_per_coin=D("0.0000025"),
    start_price=D("2610"),
)  # fmt: skip
SOL = _like_btc(
    name="SOL_USDC-PERPETUAL", base="SOL", price_index="sol_usdc", tick=D("0.01"), contract_size=D("0.1"),
    min_amount=D("0.1"), instrument_id=211971, index_id=13000004, group="TIER_2", lot_size=10,
    created_ms=1647432000000, rate_per_coin=D("0.0000002"), start_price=D("142"),
)  # fmt: skip
# What a careless prefix match on "BTC" would catch: listed, never tradable here.
BTC_INVERSE = _like_btc(
    name="BTC-PERPETUAL", instrument_type="reversed", quote="USD", settle="BTC", price_index="btc_usd",
    tick=D("0.5"), contract_size=D(10), min_amount=D(10), instrument_id=210838, index_id=1000033,
    created_ms=1534242287000, tradable=False,
)  # fmt: skip
BTC_DATED = _like_btc(
    name="BTC_USDC-25JUN27", settlement_period="month", tick=D("2.5"), max_leverage=25, instrument_id=703829,
    created_ms=1790496021000, expires_ms=1813910400000, start_price=D(87300), tradable=False,
)  # fmt: skip
BTC_SPOT = _like_btc(
    name="BTC_USDC", kind="spot", instrument_type="linear", settlement_period="", max_leverage=1, tick=D(1),
    instrument_id=255910, created_ms=1682000000000, tradable=False,
)  # fmt: skip

GATEWAY_PRODUCTS = (BTC, ETH, SOL, BTC_INVERSE, BTC_DATED, BTC_SPOT)

GATEWAY_RULES = ExchangeRules(
    currency="USDC",
    start_balance=D(100_000),
    first_order_no=198150503746,
    first_trade_no=63764222,
    first_trade_seq=13067247,
    first_slot_id=900_001,
    settlement_minute=8 * 60,
    settlement_ms=3_000,
    funding_damper=D("0.00025"),
    funding_cap=D("0.005"),
    ladder_levels=25,
    recent_orders_ms=30 * 60_000,
    recent_trades_ms=24 * 3_600_000,
    archive_delay_ms=60_000,
    unfilled_kept_ms=7 * 24 * 3_600_000,
    max_slots=20,
    max_triggers=100,
    liquidation_share=D("0.2"),
    # Liquidity providers come before deleveraging and the book (Deribit docs, LSP guide); the figures are ours.
    provider_notional=D(25_000),
    provider_spread=D("0.0005"),
    transfer_fee=D("0.00025"),
    counterparty_fee=D("0.00005"),
)
