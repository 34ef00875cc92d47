"""This file gives the bot's figures to Prometheus, read when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perpctl.engine import events as e
from perpctl.engine.loop import Bot
from perpctl.engine.state.meter import percentile
from perpctl.exchange.port import FeedLost
from perpctl.model.mode import Mode
from perpctl.model.money import ZERO

_MODES = (Mode.NORMAL, Mode.REDUCE_ONLY, Mode.HALTED)


class Figures(Collector):
    """The figures of one bot; floats here only, on the way out. Counts from the moment it is made."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._refused: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        bot.watchers.append(self._watch)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The Prometheus text of now."""
        return generate_latest(self._registry)

    def _watch(self, event: e.Event, effects: list[e.Effect]) -> None:
        if isinstance(event, e.HeldBack):
            self._refused[event.control] += 1
        elif isinstance(event, FeedLost):
            self._lost[event.channel] += 1

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield from self._state()
        yield from self._money()
        yield from self._products()
        yield from self._pace()
        yield from self._counts()

    def _state(self) -> Iterator[Metric]:
        bot, now = self._bot, self._bot.gear.clock.monotonic()
        mode = GaugeMetricFamily("perpctl_mode", "1 for the mode in force.", labels=["mode"])
        for one in _MODES:
            mode.add_metric([one.value], float(bot.core.mode is one))
        yield mode
        yield GaugeMetricFamily("perpctl_up_seconds", "Since the bot began.", value=now - bot.began)
        yield GaugeMetricFamily("perpctl_dead_man_armed", "Cancel-on-disconnect reads on.", value=bot.core.dead_man)
        unknown = sum(1 for _ in bot.core.orders.unknown())
        yield GaugeMetricFamily("perpctl_unknown_orders", "Orders of unknown outcome.", value=unknown)
        feeds = GaugeMetricFamily("perpctl_feed_age_seconds", "Since a feed was last heard.", labels=["feed"])
        for name, at in bot.meter.heard.items():
            feeds.add_metric([name], max(0.0, now - at))
        yield feeds

    def _money(self) -> Iterator[Metric]:
        core = self._bot.core
        worth = core.worth(worse=True)
        figures = (
            ("perpctl_equity", "In settlement currency, conservatively marked.", core.day.equity(worth)),
            (
                "perpctl_day_pnl",
                "Since the risk day began, in settlement currency.",
                core.day.pnl(worth, core.market_ms),
            ),
            ("perpctl_day_pnl_percent", "Of the day's baseline.", core.day.pnl_pct(worth, core.market_ms)),
            ("perpctl_drawdown_percent", "From the peak of seven days.", core.day.drawdown_pct(worth)),
        )
        for name, meaning, value in figures:
            if value is not None:
                yield GaugeMetricFamily(name, meaning, value=float(value))

    def _products(self) -> Iterator[Metric]:
        now = self._bot.gear.clock.monotonic()
        position = GaugeMetricFamily("perpctl_position", "Signed, in base coin.", labels=["product"])
        bare = GaugeMetricFamily("perpctl_unprotected_seconds", "In a position without a stop.", labels=["product"])
        working = GaugeMetricFamily("perpctl_working_entries", "Entries at the venue.", labels=["product"])
        for product in self._bot.core.products.values():
            label = [product.product_id]
            position.add_metric(label, float(product.position))
            bare.add_metric(label, 0.0 if product.bare_since is None else now - product.bare_since)
            working.add_metric(label, float(len(self._bot.core.orders.of(product.product_id, stops=False))))
        yield from (position, bare, working)
        fees = sum((p.held.tally.fees for p in self._bot.core.products.values()), ZERO)
        yield GaugeMetricFamily("perpctl_fees", "Paid in this run, in settlement currency.", value=float(fees))

    def _pace(self) -> Iterator[Metric]:
        bot = self._bot
        yield GaugeMetricFamily(
            "perpctl_loop_lag_p99_seconds", "Of the event loop.", value=percentile(bot.meter.lags, 99)
        )
        latencies = [took for _, took in bot.meter.latencies]
        p95 = percentile(latencies, 95)
        yield GaugeMetricFamily("perpctl_order_latency_p95_seconds", "Answers to orders and cancels.", value=p95)
        today = Decimal(bot.core.activity.recent(bot.core.market_ms).orders_today)
        yield GaugeMetricFamily("perpctl_orders_today", "Orders sent in this risk day.", value=float(today))

    def _counts(self) -> Iterator[Metric]:
        bot, core = self._bot, self._bot.core
        by = (
            ("perpctl_gate_refusals", "Orders that our gate held back.", "reason", self._refused),
            ("perpctl_feed_losses", "Times that a feed was lost and connected anew.", "channel", self._lost),
            ("perpctl_events", "What happened, by kind.", "kind", bot.meter.counts),
        )
        for name, meaning, label, counts in by:
            family = CounterMetricFamily(name, meaning, labels=[label])
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family
        yield CounterMetricFamily("perpctl_sends", "Orders sent to the venue.", value=core.left)
        yield CounterMetricFamily("perpctl_fills", "Fills booked in this run.", value=bot.gear.projections.fills_booked)
        head = bot.gear.projections.journal.head().seq
        yield CounterMetricFamily("perpctl_journal_appends", "Records in the journal.", value=head)
