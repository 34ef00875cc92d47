"""This file writes figures and headings as every screen of a kill shows them; `?` is what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

Facts = Mapping[str, Any]
WIDTH = 110


def money(amount: str | None, *, signed: bool = False) -> str:
    """Two decimals, thousands separators."""
    if amount is None:
        return "?"
    return f"{Decimal(amount):+,.2f}" if signed else f"{Decimal(amount):,.2f}"


def figure(number: str | None) -> str:
    """A price or size with the decimals it came with."""
    return "?" if number is None else f"{Decimal(number):,f}"


def name_of(row: Facts) -> str:
    """A product, and the isolated slot it stands in."""
    return str(row["product"]) + ("" if row["slot"] is None else f" iso {row['slot']}")


def coins(balances: Mapping[str, str] | None) -> str:
    """Every currency with anything in it."""
    if balances is None:
        return "?"
    return ", ".join(f"{money(amount)} {coin}" for coin, amount in balances.items()) or "nothing"


def heading(facts: Facts, *more: str) -> str:
    """Whose money it is: the first words of every answer, with what else belongs on that line."""
    words = [facts["env"].upper(), facts["venue"], f"profile {facts['profile']}", _account(facts["account"])]
    return "  ".join([*words, *more])


def dated(facts: Facts, *more: str) -> str:
    """The heading, with the moment at its right end."""
    left, right = heading(facts, *more), f"{moment(facts['at']):%a %d %b %Y  %H:%M:%S} UTC"
    return f"{left}{right:>{max(len(right) + 3, WIDTH - len(left))}}"


def moment(text: str) -> datetime:
    """A time of day from JSON."""
    return datetime.fromisoformat(text)


def _account(account: Facts | None) -> str:
    if account is None or account["id"] is None:
        return "account DIFFERS from the pinned one" if account and account["pinned"] == "differs" else "account ?"
    return f"account {account['id']} {'= pinned' if account['pinned'] == 'pinned' else str(account['pinned']).upper()}"
