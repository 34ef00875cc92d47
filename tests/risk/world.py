"""A healthy world for the gate at each venue, in which a small bid passes; tests spoil one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal as D
from typing import Any

from msgspec import structs

from perpctl.exchange.advanced_trade.client import AdvancedTrade
from perpctl.exchange.gateway.client import Gateway
from perpctl.exchange.port import VenueTerms
from perpctl.model.exposure import Holding, MarginRates
from perpctl.model.instrument import BookState, Instrument, Quote
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Purpose, Side, TimeInForce
from perpctl.model.position import Account
from perpctl.model.venue.calendar import VenueCalendar
from perpctl.model.venue.margin import WindowRates
from perpctl.risk.activity import Recent
from perpctl.risk.limits import RiskLevel, level_limits
from perpctl.risk.view import GateInput

NOW = 1_795_000_000_000
LIMITS = level_limits(RiskLevel.CONSERVATIVE)


@dataclass(frozen=True, slots=True)
class World:
    """What is there at one venue, with BTC at 84,100 and 100,000 of equity: its product, terms and figures."""

    venue: str
    terms: VenueTerms
    calendar: VenueCalendar
    instrument: Instrument
    other: Instrument  # the perpetual on ETH
    dated: str  # a dated future on BTC
    quote: Quote
    account: Account
    lowest: D  # price on the tick that the collar of half a percent lets an entry have
    highest: D
    largest_order: D  # on the step, of a tenth of equity
    largest_position: D  # of half of equity
    dead_man: bool  # how entries are kept from outliving us, where they do not end by themselves

    @property
    def btc(self) -> str:
        return self.instrument.product_id

    @property
    def eth(self) -> str:
        return self.other.product_id

    @property
    def tick(self) -> D:
        return self.instrument.tick

    @property
    def step(self) -> D:
        return self.instrument.size_step

    def holding(self, size: str | D = "0", product: str | None = None, **change: Any) -> Holding:
        held = self.other if product == self.eth else self.instrument
        price = D(2960) if product == self.eth else D(84100)
        return structs.replace(Holding(product or self.btc, held.base, D(size), price, 500), **change)

    def request(
        self, side: Side = Side.BUY, size: str | D = "0.01", price: str | D | None = "84090", **change: Any
    ) -> OrderRequest:
        """An entry, as the bot sends them here: with an end where the venue's terms give it one."""
        asked = OrderRequest("id-new", self.btc, side, D(size), OrderType.LIMIT, None if price is None else D(price))
        resting = TimeInForce.GTC if self.terms.entries_end_s is None else TimeInForce.GTD
        return replace(asked, **{"time_in_force": resting, **change})

    def close(self, size: str | D = "0.1", side: Side = Side.SELL, **change: Any) -> OrderRequest:
        """An exit of a long position."""
        exit_ = {"reduce_only": True, "purpose": Purpose.CLOSE, "time_in_force": TimeInForce.IOC}
        return self.request(side, size, "84000", **{**exit_, **change})

    def stop(self, size: str | D, trigger: str = "82340") -> OrderRequest:
        """The protective stop of a long position."""
        return self.terms.stop.stop("id-stop", self.btc, Side.SELL, D(size), D(trigger), self.tick)

    def order(self, side: Side, size: str | D, price: str | D | None, **change: Any) -> Order:
        resting = Order(
            order_id="o-1",
            identity="id-1",
            product_id=self.btc,
            side=side,
            type=OrderType.LIMIT,
            status=OrderStatus.OPEN,
            size=D(size),
            filled=D(0),
            price=None if price is None else D(price),
            average_price=None,
            reduce_only=False,
            post_only=False,
            trigger_price=None,
            trigger=None,
            created_ms=NOW - 10_000,
            updated_ms=NOW - 10_000,
        )
        return replace(resting, **change)

    def view(self, **change: Any) -> GateInput:
        healthy = GateInput(
            now_ms=NOW,
            mode=Mode.NORMAL,
            latch=Mode.NORMAL,
            lease_left_ms=8_000,
            allowed=frozenset({self.btc}),
            instrument=self.instrument,
            spec_unchanged=True,
            quote=self.quote,
            quote_age_ms=100,
            account=self.account,
            account_age_ms=1_000,
            holdings=(self.holding(),),
            working=(),
            unknown=(),
            recent=Recent(),
            entered=1,
            left=0,
            day_pnl_pct=D("0.1"),
            drawdown_pct=D(0),
            move_1m_pct=D("0.1"),
            venue_age_ms=0,
            dead_man=self.dead_man,
            venue_enforces_reduce_only=self.terms.reduces_only,
        )
        return replace(healthy, **change)


def _rates(window: str, long: str, short: str) -> WindowRates:
    """Maintenance is not published at the US venue: the whole initial margin stands in for it."""
    return WindowRates(window, *(MarginRates(D(rate), D(rate), D(0)) for rate in (long, short)))


GLOBAL = World(
    venue="global",
    terms=Gateway.terms,
    calendar=Gateway.calendar,
    instrument=Instrument(
        product_id="BTC_USDC-PERPETUAL",
        symbol="BTC-PERP",
        base="BTC",
        currency="USDC",
        tick=D("0.1"),
        size_step=D("0.0001"),
        min_size=D("0.0001"),
        maker_fee=D("0.00015"),
        taker_fee=D("0.00035"),
        max_leverage=D(50),
        state=BookState.OPEN,
        price_decimals=1,
        size_decimals=4,
    ),
    other=Instrument(
        product_id="ETH_USDC-PERPETUAL",
        symbol="ETH-PERP",
        base="ETH",
        currency="USDC",
        tick=D("0.01"),
        size_step=D("0.0001"),
        min_size=D("0.0001"),
        maker_fee=D("0.00015"),
        taker_fee=D("0.00035"),
        max_leverage=D(50),
        state=BookState.OPEN,
        price_decimals=2,
        size_decimals=4,
    ),
    dated="BTC_USDC-29JAN27",
    quote=Quote(
        product_id="BTC_USDC-PERPETUAL",
        bid=D("84099.9"),
        bid_size=D(1),
        ask=D("84100.1"),
        ask_size=D(1),
        mark=D("84100"),
        index=D("84090"),
        last=D("84100"),
        band_low=D("82838.5"),
        band_high=D("85361.5"),
        funding_8h=D("0.00001"),
        current_funding=D("0.00001"),
        open_interest=D(502),
        state=BookState.OPEN,
        at_ms=NOW,
        seen=0.0,
    ),
    account=Account(
        account_id="104821",
        username="paper-1",
        currency="USDC",
        balance=D(100_000),
        equity=D(100_000),
        available=D(99_000),
        initial_margin=D(0),
        maintenance_margin=D(0),
        session_realized=None,
        session_unrealized=None,
        margin_model="cross_sm",
        slots_in_use=0,
        engine_rate=5,
        engine_burst=20,
        at_ms=NOW,
        seen=0.0,
    ),
    lowest=D("83679.5"),
    highest=D("84520.5"),
    largest_order=D("0.1189"),
    largest_position=D("0.5945"),
    dead_man=True,
)

_BIP = structs.replace(
    GLOBAL.instrument,
    product_id="BIP-20DEC30-CDE",
    currency="USD",
    tick=D(5),
    size_step=D("0.01"),
    min_size=D("0.01"),
    maker_fee=D("0.00075"),
    taker_fee=D("0.0008"),
    max_leverage=D("3.26"),
    price_decimals=0,
    size_decimals=2,
    margin_rates=(
        _rates("intraday", "0.1000185", "0.1000008"),
        _rates("overnight", "0.245625", "0.306375"),
    ),
    contract_size=D("0.01"),
    max_size=D(50),
    valued_by=AdvancedTrade.terms.valued_by,
    mark_absent=AdvancedTrade.terms.mark_absent,
)

US = replace(
    GLOBAL,
    venue="us",
    terms=AdvancedTrade.terms,
    calendar=AdvancedTrade.calendar,
    instrument=_BIP,
    other=structs.replace(
        _BIP,
        product_id="ETP-20DEC30-CDE",
        symbol="ETH-PERP",
        base="ETH",
        tick=D("0.5"),
        size_step=D("0.1"),
        min_size=D("0.1"),
        max_leverage=D("2.93"),
        price_decimals=1,
        size_decimals=1,
        margin_rates=(_rates("intraday", "0.1000185", "0.1000008"), _rates("overnight", "0.2812", "0.3415")),
        contract_size=D("0.1"),
        max_size=D(500),
    ),
    dated="BIT-25JUN27-CDE",
    quote=structs.replace(
        GLOBAL.quote,
        product_id="BIP-20DEC30-CDE",
        bid=D(84095),
        ask=D(84105),
        mark=None,
        band_low=None,
        band_high=None,
    ),
    account=replace(
        GLOBAL.account,
        account_id="bf6000f6-4533-516e-9e73-9fe870ec039d",
        username=None,
        currency="USD",
        margin_model="cleared by the FCM",
        engine_rate=None,
        engine_burst=None,
        margin_window="intraday",
        order_hold=D(0),
        funding_pnl=D(0),
        spot_cash=D(25_000),
    ),
    lowest=D(83680),
    highest=D(84520),
    largest_order=D("0.11"),
    largest_position=D("0.59"),
    dead_man=False,
)

WORLDS = {world.venue: world for world in (GLOBAL, US)}
