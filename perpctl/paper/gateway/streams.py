"""This file says what a subscribed channel is, and which products one speaks of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from perpctl.paper.core import Exchange
from perpctl.paper.events import Event

INTERVALS = {"raw": 0.0, "100ms": 0.1, "agg2": 1.0}


class Stream(Protocol):
    """One subscribed channel: it sees events, and says when asked what is worth telling."""

    def see(self, event: Event) -> None:
        """Take note of something that happened."""

    def take(self) -> list[Any]:
        """The payloads due since the last call."""


@dataclass
class Silent:
    """A channel that is granted and has nothing to tell here."""

    def see(self, event: Event) -> None:
        """Nothing."""

    def take(self) -> list[Any]:
        return []


def chooser(exchange: Exchange, which: list[str]) -> Callable[[str], bool] | None:
    """Which products a channel speaks of: {instrument} or {kind}.{currency}; None when it makes no sense."""
    match which:
        case [name] if name in exchange.products:
            return lambda product: product == name
        case [kind, currency]:
            settle = currency.upper()
            known = {product.settle for product in exchange.products.values()} | {"ANY"}
            if kind not in ("future", "spot", "any") or settle not in known:
                return None
            return lambda product: (
                kind in ("any", exchange.product(product).kind) and settle in ("ANY", exchange.product(product).settle)
            )
    return None
