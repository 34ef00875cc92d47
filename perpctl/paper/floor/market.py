"""This file keeps one product's market: prices, funding, trades and bars."""

from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import replace

from perpctl.paper.floor.book import ZERO, Book
from perpctl.paper.types import (
    BookState,
    Candle,
    Direction,
    ExchangeRules,
    FundingHour,
    Product,
    PublicTrade,
    Tick,
    TickerView,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
EIGHT_HOURS_MS = Decimal(8 * HOUR_MS)
RATE_QUANTUM = Decimal("1e-16")
PAID_QUANTUM = Decimal("1e-14")
OUTSIDE_INTEREST = Decimal(42_000_000)  # open interest of everybody else, in quote currency
SAMPLE_MS = 180_000
SAMPLES = 20  # an hour's
KEPT_TRADES = 2_000
KEPT_MINUTES = 3 * 24 * 60
KEPT_HOURS = 400 * 24


class Bar(Struct):
    """A candle in the making."""

    at_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    cost: Decimal

    def add(self, price: Decimal, amount: Decimal) -> None:
        """Count a trade."""
        if price > self.high:
            self.high = price
        if price < self.low:
            self.low = price
        self.close = price
        self.volume += amount
        self.cost += price * amount


class Market(Struct):
    """Prices and history of a product. `paid` is the funding a long of one base coin has paid since listing, in
    quote currency; `interest` the same as a fraction of notional."""

    product: Product
    book: Book
    at_ms: int
    index: Decimal
    mark: Decimal
    last: Decimal
    settlement_price: Decimal
    trade_seq: int
    state: BookState = "open"
    shut_by_hours: bool = False
    tick_direction: int = 1
    by_day: bool = False  # whether the calendar's day window is on
    rate: Decimal = ZERO
    premiums: list[Decimal] = []  # of this hour, where funding is hourly
    paid: Decimal = ZERO
    interest: Decimal = ZERO
    interest_marks: list[Decimal] = field(default_factory=lambda: [ZERO])  # `interest` at each full hour
    hours: list[FundingHour] = []
    trades: list[PublicTrade] = []
    minute_bars: list[Bar] = []
    hour_bars: list[Bar] = []
    triggers: list[str] = []  # untriggered orders
    holders: list[int] = []  # accounts with a position
    full_hours: Bar | None = None  # sums of the last day without the running hour, which `at_ms` names

    def take_prices(self, tick: Tick, rules: ExchangeRules) -> None:
        """Follow the outside market; funding up to now was accrued before."""
        if tick.index != self.index or tick.mark != self.mark:
            self.index, self.mark = tick.index, tick.mark
            if not rules.hourly_funding:
                self.rate = funding_rate(tick.mark, tick.index, rules)
        if not self.trades:
            self.last = tick.bid or tick.mark
        self.book.renew(tick)

    def accrue(self, now: int, hourly: bool) -> None:
        """Funding from the last moment to `now` at the rate and mark that held meanwhile."""
        if hourly:
            if self.product.settlement_period == "perpetual":
                missed = now // SAMPLE_MS - self.at_ms // SAMPLE_MS
                if missed:
                    self.premiums += [(self.mark - self.index) / self.index] * min(missed, SAMPLES)
        elif self.rate and now > self.at_ms:
            share = (self.rate * (now - self.at_ms) / EIGHT_HOURS_MS).quantize(RATE_QUANTUM)
            self._pay(share)
        self.at_ms = now

    def _pay(self, share: Decimal) -> None:
        self.interest += share
        self.paid += (share * self.mark).quantize(PAID_QUANTUM)

    def pay_hour(self) -> None:
        """The hour's payment: three quarters of its mean premium, a day's 24th, and a quarter of the rate before.

        Coinbase help, perpetual-style futures: premiums are sampled every three minutes.
        """
        if self.premiums:
            premium = sum(self.premiums, ZERO) / len(self.premiums) / 24
            self.rate = (Decimal("0.75") * premium + Decimal("0.25") * self.rate).quantize(Decimal("1e-6"))
            self.premiums = []
            self._pay(self.rate)

    def close_hour(self, at_ms: int) -> None:
        """Book the funding row of the hour that ends now."""
        marks = self.interest_marks
        hour, eight = self.interest - marks[-1], self.interest - marks[max(0, len(marks) - 8)]
        previous = self.hours[-1].index_price if self.hours else self.index
        self.hours.append(FundingHour(at_ms, self.index, previous, hour, eight))
        marks.append(self.interest)

    @property
    def funding_8h(self) -> Decimal:
        """Funding of the last eight hours, as a fraction."""
        return self.interest - self.interest_marks[max(0, len(self.interest_marks) - 8)]

    @property
    def min_price(self) -> Decimal:
        """The lowest limit price accepted now."""
        product = self.product
        if product.band_ticks:
            return max(product.tick, self._on_tick(self.last) - product.band_ticks * product.tick)
        return self._on_tick(self.mark * (1 - product.band))

    @property
    def max_price(self) -> Decimal:
        """The highest limit price accepted now."""
        product = self.product
        if product.band_ticks:
            return self._on_tick(self.last) + product.band_ticks * product.tick
        return self._on_tick(self.mark * (1 + product.band))

    def _on_tick(self, price: Decimal) -> Decimal:
        return (price / self.product.tick).to_integral_value() * self.product.tick

    def trigger_reference(self, kind: str) -> Decimal:
        """The price that triggers of that kind watch."""
        return {"index_price": self.index, "mark_price": self.mark, "last_price": self.last}[kind]

    def record_trade(
        self, trade_id: str, direction: Direction, price: Decimal, amount: Decimal, liquidation: bool = False
    ) -> PublicTrade:
        """A trade happened: last price, bars, the public list."""
        if price != self.last:
            self.tick_direction = 0 if price > self.last else 2
        else:
            self.tick_direction |= 1
        self.last = price
        self.trade_seq += 1
        trade = PublicTrade(
            trade_id=trade_id,
            trade_seq=self.trade_seq,
            product=self.product.name,
            at_ms=self.at_ms,
            direction=direction,
            price=price,
            amount=amount,
            tick_direction=self.tick_direction,
            mark_price=self.mark,
            index_price=self.index,
            liquidation="T" if liquidation else None,
        )
        self.trades.append(trade)
        if len(self.trades) > 2 * KEPT_TRADES:
            del self.trades[:KEPT_TRADES]
        _count(self.minute_bars, self.at_ms, 60_000, price, amount, KEPT_MINUTES)
        _count(self.hour_bars, self.at_ms, HOUR_MS, price, amount, KEPT_HOURS)
        return trade

    def candles(self, start: int, end: int, minutes: int) -> list[Candle]:
        """Bars that start in [start, end] and have begun; a bar without trades repeats the close before it."""
        length = minutes * 60_000
        source = self.hour_bars if minutes % 60 == 0 else self.minute_bars
        if not source:
            return []
        first = max(start, source[0].at_ms) // length * length
        bars = iter([bar for bar in source if first <= bar.at_ms])
        bar = next(bars, None)
        close = next((b.close for b in reversed(source) if b.at_ms < first), source[0].open)
        found: list[Candle] = []
        for at_ms in range(first, min(end, self.at_ms) + 1, length):
            made = Bar(at_ms, close, close, close, close, ZERO, ZERO)
            while bar is not None and bar.at_ms < at_ms + length:
                _merge(made, bar)
                bar = next(bars, None)
            close = made.close
            if at_ms >= start:
                found.append(_candle(made))
        return found

    def interest_at(self, at_ms: int) -> Decimal:
        """`interest` as of a moment, drawn straight between full hours."""
        if not self.hours or at_ms >= self.at_ms:
            return self.interest if at_ms >= self.hours_end else ZERO
        place = (at_ms - self.hours[0].at_ms) // HOUR_MS + 1  # of the hour mark at or before at_ms
        if place < 0:
            return ZERO
        before = self.interest_marks[place]
        if place + 1 < len(self.interest_marks):
            after, length = self.interest_marks[place + 1], HOUR_MS
        else:
            after, length = self.interest, max(1, self.at_ms - self.hours[-1].at_ms)
        into = (at_ms - self.hours[0].at_ms) - (place - 1) * HOUR_MS
        return before + ((after - before) * min(into, length) / length).quantize(RATE_QUANTUM)

    @property
    def hours_end(self) -> int:
        """The latest full hour with a row, or now."""
        return self.hours[-1].at_ms if self.hours else self.at_ms

    def ticker(self, open_interest: Decimal) -> TickerView:
        """The market at this moment; `open_interest` is ours, in base coin."""
        bid, ask = self.book.best_level(self.book.bids), self.book.best_level(self.book.asks)
        day = self._day()
        outside = OUTSIDE_INTEREST / self.product.start_price
        return TickerView(
            product=self.product.name,
            state=self.state,
            at_ms=self.at_ms,
            best_bid_price=bid[0] if bid else None,
            best_bid_amount=bid[1] if bid else None,
            best_ask_price=ask[0] if ask else None,
            best_ask_amount=ask[1] if ask else None,
            index_price=self.index,
            mark_price=self.mark,
            last_price=self.last,
            min_price=self.min_price,
            max_price=self.max_price,
            settlement_price=self.settlement_price,
            open_interest=outside.quantize(self.product.contract_size) + open_interest,
            current_funding=self.rate,
            funding_8h=self.funding_8h,
            interest_value=self.paid,
            high=day.high if day else None,
            low=day.low if day else None,
            price_change=_percent(day.open, self.last) if day else None,
            volume=day.volume if day else ZERO,
            volume_usd=day.cost if day else ZERO,
        )

    def _day(self) -> Bar | None:
        """The last 24 hours as one bar: full hours, and the running one. The full ones are summed once an hour."""
        hour = self.at_ms // HOUR_MS * HOUR_MS
        full = self.full_hours
        if full is None or full.at_ms != hour:
            full = self.full_hours = Bar(hour, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
            for bar in self.hour_bars[-25:]:
                if self.at_ms - DAY_MS < bar.at_ms < hour:
                    _merge(full, bar)
        day = replace(full)
        if self.hour_bars and self.hour_bars[-1].at_ms == hour:
            _merge(day, self.hour_bars[-1])
        return day if day.volume else None


def new_market(product: Product, rules: ExchangeRules, now: int) -> Market:
    """A product without a feed yet: the marks stand at its start price."""
    price = product.start_price
    book = Book(product.tick, product.contract_size, rules.ladder_levels)
    return Market(product, book, now, price, price, price, price, rules.first_trade_seq - 1)


def funding_rate(mark: Decimal, index: Decimal, rules: ExchangeRules) -> Decimal:
    """The 8-hour rate: the premium less the damper, zero inside it (Coinbase support, perpetual funding)."""
    premium = (mark - index) / index
    damper = rules.funding_damper
    if -damper <= premium <= damper:
        return ZERO
    damped = premium - damper if premium > 0 else premium + damper
    return max(-rules.funding_cap, min(rules.funding_cap, damped)).quantize(Decimal("1e-8"))


def _count(bars: list[Bar], at_ms: int, length: int, price: Decimal, amount: Decimal, kept: int) -> None:
    start = at_ms // length * length
    if not bars or bars[-1].at_ms != start:
        bars.append(Bar(start, price, price, price, price, ZERO, ZERO))
        if len(bars) > kept + kept // 8:
            del bars[: kept // 8]
    bars[-1].add(price, amount)


def _merge(into: Bar, bar: Bar) -> None:
    if not into.volume:
        into.open, into.high, into.low = bar.open, bar.high, bar.low
    into.high, into.low = max(into.high, bar.high), min(into.low, bar.low)
    into.close = bar.close
    into.volume += bar.volume
    into.cost += bar.cost


def _candle(bar: Bar) -> Candle:
    return Candle(bar.at_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.cost)


def _percent(before: Decimal, after: Decimal) -> Decimal:
    return ((after - before) / before * 100).quantize(Decimal("0.0001"))
