"""This file words what several screens of a kill show alike."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TextIO

from perpctl.model.money import ZERO

Facts = Mapping[str, Any]
_EVIDENCE, _FACT = 36, 10  # columns before the evidence of a step, and before what any other line says


def fitted(text: str, stream: TextIO) -> str:
    """As it is into a pipe; on a terminal folded between words, below what the line says, where it would be cut."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "".join(f"{row}\n" for line in text.splitlines() for row in _folded(line, width))


def _folded(line: str, width: int) -> list[str]:
    below = _EVIDENCE if line[:1].isdigit() and line[1:2] == " " else _FACT
    if len(line) <= width or width <= below * 2:
        return [line]
    return textwrap.wrap(line, width, subsequent_indent=" " * below, break_long_words=False, break_on_hyphens=False)


def shown(amount: str | None, *, signed: bool = False) -> str:
    """Money as people read it: two decimals, thousands separators; `?` when not known."""
    if amount is None:
        return "?"
    return f"{Decimal(amount):+,.2f}" if signed else f"{Decimal(amount):,.2f}"


def total(rows: list[Facts], member: str) -> str | None:
    """What a column adds up to; None as soon as one of them is not known."""
    if any(row[member] is None for row in rows):
        return None
    return str(sum((Decimal(row[member]) for row in rows), ZERO))


def sized(row: Facts) -> str:
    """A size in base coin, and in contracts where the venue counts those."""
    coins = f"{row['size']} {row['underlying']}"
    return coins if row["contracts"] is None else f"{row['contracts']} = {coins}"


def in_slot(row: Facts) -> str:
    """A product with the isolated slot it stands in."""
    return f"{row['product']} iso {row['slot']}" if row["slot"] is not None else str(row["product"])


def whose(facts: Facts) -> str:
    """Env, venue, profile and account: the first words of every answer."""
    account = facts["account"]
    if account["id"] is None:
        told = "account DIFFERS from the pinned one" if account["pinned"] == "differs" else "account ?"
    else:
        told = f"account {account['id']} {'= pinned' if account['pinned'] == 'pinned' else account['pinned'].upper()}"
    return f"{facts['env'].upper()}  {facts['venue']}  profile {facts['profile']}  {told}"


def balances(held: Mapping[str, str] | None) -> str:
    """What lies in the account; `?` when it could not be read."""
    if held is None:
        return "?"
    return ", ".join(f"{shown(amount)} {name}" for name, amount in held.items()) or "nothing"
