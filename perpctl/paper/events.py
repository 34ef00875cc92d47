"""This file names what happens in the paper exchange: what the core tells and the faces pass on."""

from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct

from perpctl.paper.types import Direction, Order, PublicTrade, Trade


class BookChanged(Struct, frozen=True):
    product: str
    prev_change_id: int
    change_id: int


class TickerChanged(Struct, frozen=True):
    product: str


class PublicTradePrinted(Struct, frozen=True):
    trade: PublicTrade


class OrderChanged(Struct, frozen=True):
    account_id: int
    order: Order


class Filled(Struct, frozen=True):
    account_id: int
    trade: Trade


class PositionChanged(Struct, frozen=True):
    """Ask `Exchange.position` for the figures."""

    account_id: int
    product: str


class AccountChanged(Struct, frozen=True):
    """Balance or margin in use changed by an act (not by price): ask `Exchange.account`."""

    account_id: int


class AccountLocked(Struct, frozen=True):
    account_id: int
    locked: bool
    position_locked: bool


class StateChanged(Struct, frozen=True):
    """`product` None: the platform (state open or maintenance)."""

    product: str | None
    state: str


class ForcedTransfer(Struct, frozen=True):
    """A position went to somebody else without an order: to a liquidity provider, or by auto-deleveraging.

    `direction` and `amount` are what the account's position changed by; `taken` marks the healthy side of it.
    """

    account_id: int
    product: str
    kind: Literal["LSP", "ADL"]
    direction: Direction
    amount: Decimal
    price: Decimal
    commission: Decimal
    taken: bool = False


class LiquidationChanged(Struct, frozen=True):
    account_id: int
    state: Literal["liquidation_started", "liquidation_completed"]
    maintenance_margin: Decimal
    margin_balance: Decimal


Event: TypeAlias = (
    BookChanged | TickerChanged | PublicTradePrinted | OrderChanged | Filled | PositionChanged | AccountChanged
    | AccountLocked | StateChanged | ForcedTransfer | LiquidationChanged
)  # fmt: skip
