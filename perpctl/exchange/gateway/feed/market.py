"""This file listens to the market: quotes and books, each channel watched for gaps and silence on its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.both.tasks import Tasks
from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.errors import RpcFailure
from perpctl.exchange.gateway.feed.channels import SUBSCRIBE_S, book_of, is_book, product_in, subscribe, ticker_of, told
from perpctl.exchange.gateway.feed.depth import Depth, Gap
from perpctl.exchange.gateway.rpc import Call, SocketRpc
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.port import Beat, BookSeen, FeedLost, FeedResumed, QuoteSeen, SessionEvent
from perpctl.model.instrument import Quote

FIRST_MESSAGE_S = 5.0
SILENT_S = 5.0  # then the venue is asked: a quiet market is no dead feed, and a live socket no live channel
UNDER_WAY_S = 1.0  # what changed a moment ago may still be on its way


class MarketEnd:
    """Our end of the streams socket."""

    def __init__(
        self, products: Sequence[str], inbox: Inbox, clock: Clock, ask: Callable[[str], Awaitable[Quote]]
    ) -> None:
        self.channels = tuple(channel for name in products for channel in (ticker_of(name), book_of(name)))
        self.granted: tuple[str, ...] = ()
        self._inbox = inbox
        self._clock = clock
        self._ask = ask
        self._live: set[str] = set()
        self._heard_at: dict[str, float] = {}
        self._depths: dict[str, Depth] = {}
        self._quotes: dict[str, Quote] = {}
        self._comparing: set[str] = set()
        self._tasks = Tasks(inbox)
        self._rpc: SocketRpc | None = None

    @property
    def refused(self) -> tuple[str, ...]:
        """Channels asked for and silently left out."""
        return tuple(channel for channel in self.channels if channel not in self.granted)

    async def up(self, rpc: SocketRpc) -> None:
        self._rpc = rpc
        self._depths = {channel: Depth() for channel in self.channels if is_book(channel)}
        self._heard_at = dict.fromkeys(self.channels, self._clock.monotonic())
        self.granted = await subscribe(rpc, "public", self.channels)
        for channel in self.channels:
            if channel not in self.granted:
                self._inbox.put(FeedLost(channel, "the venue left it out of the subscription"))

    def heard(self, message: dict[str, Any]) -> None:
        channel, row = told(message)
        if channel not in self._heard_at:
            return
        now = self._clock.monotonic()
        if is_book(channel):
            depth = self._depths[channel]
            try:
                depth.apply(row)
            except Gap as why:
                if channel in self._live:
                    self._lose(channel, f"a gap: {why}")
                return  # changes still under way before the new snapshot say nothing
            self._news(channel, now, lambda: BookSeen(depth.book(now)))
        else:
            quote = wire.quote(row, now)
            self._quotes[channel] = quote
            self._news(channel, now, lambda: QuoteSeen(quote))

    def _news(self, channel: str, now: float, draw: Callable[[], SessionEvent]) -> None:
        self._heard_at[channel] = now
        if channel not in self._live:
            self._live.add(channel)
            self._inbox.put(FeedResumed(channel))
        self._inbox.put_latest(channel, draw)

    async def alive(self, rpc: SocketRpc) -> None:
        now = self._clock.monotonic()
        self._inbox.put_latest("beat", lambda: Beat(now))
        for channel in self.granted:
            silent_s = now - self._heard_at[channel]
            if channel not in self._live and silent_s > FIRST_MESSAGE_S:
                self._lose(channel, f"nothing came for {silent_s:.0f} s after subscribing")
            elif channel in self._live and not is_book(channel) and silent_s > SILENT_S:
                self._compare_soon(channel)

    def down(self, cause: str) -> None:
        self._rpc = None
        for channel in self.granted:
            self._inbox.forget(channel)
            self._inbox.put(FeedLost(channel, cause))
        self._live.clear()
        self.granted = ()

    async def aclose(self) -> None:
        """Stop what is still being mended."""
        await self._tasks.stop()

    def _compare_soon(self, channel: str) -> None:
        """Beside the probes: an answer that is slow over HTTP must not keep this socket from being watched."""
        if channel not in self._comparing:
            self._comparing.add(channel)
            self._tasks.start(self._compare(channel))

    async def _compare(self, channel: str) -> None:
        """A ticker that said nothing for long: its quote is confirmed by asking, or the channel is dead."""
        heard_at, told = self._heard_at[channel], self._quotes.get(channel)
        try:
            quote = await self._ask(product_in(channel))
            if told is not None and _picture(quote) == _picture(told):
                self._heard_at[channel] = max(self._heard_at[channel], quote.seen)
                self._inbox.put_latest(channel, lambda: QuoteSeen(quote))
                return
            await self._clock.sleep(UNDER_WAY_S)
        except PerpctlError:
            return  # asked again at the next beat; meanwhile its age grows, as it should
        finally:
            self._comparing.discard(channel)
        if channel in self._live and self._heard_at[channel] == heard_at:
            self._lose(channel, "silent, while the venue's own ticker went on")

    def _lose(self, channel: str, cause: str) -> None:
        """What the channel said is stale; subscribe again, for a book that means a new snapshot."""
        self._live.discard(channel)
        self._inbox.forget(channel)
        self._inbox.put(FeedLost(channel, cause))
        self._heard_at[channel] = self._clock.monotonic()
        if is_book(channel):
            self._depths[channel] = Depth()
        if self._rpc is not None:
            self._tasks.start(self._mend(self._rpc, channel))

    async def _mend(self, rpc: SocketRpc, channel: str) -> None:
        try:
            await rpc.call(Call("public/unsubscribe", {"channels": (channel,)}, SUBSCRIBE_S))
            await subscribe(rpc, "public", (channel,))
        except (NotSent, NoAnswer, RpcFailure) as why:
            # Tried again after FIRST_MESSAGE_S of silence; the socket itself is watched by its link.
            self._inbox.put(FeedLost(channel, f"could not be subscribed again: {why}"))


def _picture(quote: Quote) -> tuple[object, ...]:
    """What a ticker says, its times apart."""
    return quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.mark, quote.last, quote.state
