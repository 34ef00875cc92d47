"""This file is `kill --dry-run`: what would be done, from live reads; it changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from perpctl.emergency.closer import near_liquidation
from perpctl.emergency.receipt import shown as money
from perpctl.emergency.steps import is_derivative
from perpctl.emergency.target import Target, as_fraction, locate
from perpctl.emergency.venue.gateway import Gateway, Said
from perpctl.emergency.venue.rows import number
from perpctl.emergency.venue.wire import NoAnswer, Wire, few_at_a_time, side_by_side
from perpctl.errors import ExitCode, StateDamaged, UnknownState
from perpctl.model.flatten import LADDER, Standing, ladder, sort_standing
from perpctl.model.money import ZERO, cents, plain
from perpctl.model.order import Side
from perpctl.model.position import Position
from perpctl.store.lease import Lease

Facts = dict[str, Any]
_WITHIN = tuple(rung for rung in LADDER if rung is not None)


def show(targets: Sequence[Target], wished: argparse.Namespace) -> int:
    """Print what a kill of these targets would do. Raises UnknownState when the venue cannot be read."""
    for target in targets:
        facts = _facts(target, wished)
        sys.stdout.write(json.dumps(facts) + "\n" if wished.output == "json" else _screen(facts))
    if len(targets) > 1:
        sys.stdout.write("Several live profiles: each would be latched, its entries cancelled, none closed.\n")
    return ExitCode.OK


def _facts(target: Target, wished: argparse.Namespace) -> Facts:
    try:
        gateway, standing, spot_orders = _look(target)
        closes = _closes(gateway, standing)
    except (NoAnswer, Said) as why:
        raise UnknownState(
            f"the venue cannot be read: {why}",
            not_done="Nothing was latched, cancelled or closed.",
            next_commands=(f"perpctl kill -p {target.profile} --force",),
        ) from why
    owner = gateway.owner
    slippage = as_fraction(wished.max_slippage) if wished.max_slippage else None
    rungs = ladder(slippage, at_market=wished.market)
    return {
        "schema": "perpctl.kill_preview/1",
        "env": target.env,
        "venue": target.venue,
        "profile": target.profile,
        "account": None
        if owner is None
        else {"id": owner.account_id, "pinned": "pinned" if gateway.pin else "not pinned"},
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "scope": wished.scope or target.scope,
        "key": gateway.key_id,
        "latches": {str(path): _can_be_written(path) for path in target.latches},
        "bot": _bot(target.directory),
        "entries": [_order_row(order) for order in standing.limits],
        "entries_by_id": [_order_row(order) for order in standing.triggers],
        "stops": [_order_row(order) for order in standing.stops],
        "rungs": ["market" if rung is None else plain(rung) for rung in rungs],
        "at_market_at_once": near_liquidation(gateway, standing.positions),
        "closes": closes,
        "bot_unit": target.bot_unit,
        "hold_s": target.timing.hold,
        "spot_orders": spot_orders,
        "balances": {} if owner is None else {coin: plain(amount) for coin, amount in owner.balances.items()},
        "settings_at_ms": target.settings_at_ms,
    }


def _look(target: Target) -> tuple[Gateway, Standing, int]:
    address = locate(target)
    gateway = Gateway(Wire(address.http, address.ca_file), address.key_files, address.pin, address.key_name)
    gateway.enter()
    orders, positions = side_by_side(gateway.open_orders, gateway.positions)
    standing = sort_standing(
        [order for order in orders if is_derivative(order.product_id)],
        [position for position in positions if is_derivative(position.product_id)],
    )
    return gateway, standing, sum(1 for order in orders if not is_derivative(order.product_id))


def _closes(gateway: Gateway, standing: Standing) -> list[Facts]:
    names = list(dict.fromkeys(position.product_id for position in standing.positions))
    books = _answered(names, few_at_a_time([partial(gateway.book, name) for name in names]))
    specified = _answered(names, few_at_a_time([partial(gateway.instrument, name) for name in names]))
    rows = []
    for position in standing.positions:
        instrument, book = specified[position.product_id], books[position.product_id]
        rows.append(_close_row(position, _Depth.read(book, position), number(instrument["taker_commission"])))
    return rows


def _answered(names: Sequence[str], answers: Sequence[dict[str, Any] | Exception]) -> Mapping[str, dict[str, Any]]:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, dict)}


@dataclass(frozen=True, slots=True)
class _Depth:
    """The side of a book that would fill a close, best first."""

    levels: tuple[tuple[Decimal, Decimal], ...]
    mid: Decimal | None
    sign: int

    @classmethod
    def read(cls, book: Mapping[str, Any], position: Position) -> _Depth:
        sign = 1 if position.size > 0 else -1  # selling a long is filled by bids
        levels = tuple((number(row[0]), number(row[1])) for row in book["bids" if sign > 0 else "asks"])
        touch = [number(book[side][0][0]) for side in ("bids", "asks") if book[side]]
        return cls(levels, sum(touch, ZERO) / 2 if len(touch) == 2 else None, sign)

    def within(self, fraction: Decimal) -> Decimal:
        """Size that rests within `fraction` of the touch."""
        if not self.levels:
            return ZERO
        bound = self.levels[0][0] * (1 - self.sign * fraction)
        return sum((size for price, size in self.levels if (price - bound) * self.sign >= 0), ZERO)

    def average(self, size: Decimal) -> Decimal | None:
        """The average price at which `size` would fill; None when the book shown does not hold it."""
        left, paid = size, ZERO
        for price, there in self.levels:
            taken = min(left, there)
            left, paid = left - taken, paid + taken * price
            if left == 0:
                return paid / size
        return None


def _close_row(position: Position, depth: _Depth, taker_fee: Decimal) -> Facts:
    size = abs(position.size)
    expected = depth.average(size)
    slip = None if expected is None or depth.mid is None else (depth.mid - expected) * depth.sign
    return {
        "product": position.product_id,
        "slot": position.slot,
        "side": (Side.SELL if position.size > 0 else Side.BUY).value,
        "size": plain(size),
        "units_agree": position.units_agree,
        "depth": [plain(depth.within(fraction)) for fraction in _WITHIN],
        "expected": None if expected is None else plain(expected.quantize(Decimal("0.01"))),
        "slippage_bps": None if slip is None or not depth.mid else plain((slip / depth.mid * 10_000).quantize(_TENTH)),
        "slippage": None if slip is None else plain(cents(slip * size)),
        "fee": None if expected is None else plain(cents(size * expected * taker_fee)),
    }


_TENTH = Decimal("0.1")


def _order_row(order: Any) -> Facts:
    return {
        "order_id": order.order_id,
        "product": order.product_id,
        "side": order.side.value,
        "remaining": plain(order.remaining),
        "type": order.type.value,
        "origin": order.origin,
        "reduce_only": order.reduce_only,
    }


def _can_be_written(path: Path) -> str:
    if path.exists():
        return "writable" if os.access(path, os.W_OK) else "NOT WRITABLE"
    parent = next((folder for folder in path.parents if folder.exists()), Path("/"))
    return "absent, can be made" if os.access(parent, os.W_OK) else "absent, CANNOT BE MADE"


def _bot(directory: Path) -> Facts:
    """Who would be fenced, and how."""
    try:
        lease = Lease.read(directory / "lease")
    except StateDamaged as why:
        return {"state": "unknown", "how": str(why)}
    if lease is None or lease.released or lease.holder_lives is False:
        return {"state": "none", "how": "no bot holds the lease"}
    if lease.holder_lives is None:
        return {"state": "elsewhere", "how": f"{lease.holder} pid {lease.pid} is on {lease.host}, NOT THIS HOST"}
    same = lease.uid == os.getuid() or os.getuid() == 0
    reach = "SIGKILL when it does not answer" if same else f"asked only: it belongs to uid {lease.uid}"
    socket = "control socket there" if (directory / "control.sock").exists() else "no control socket"
    return {"state": "here", "how": f"{lease.holder} pid {lease.pid} on this host: {socket}, {reach}"}


# --- the screen ------------------------------------------------------------------------------------------------------


def _screen(facts: Facts) -> str:
    account = facts["account"]
    pinned = "= pinned" if account and account["pinned"] == "pinned" else "NOT PINNED"
    shown = "?" if account is None else f"{account['id']} {pinned}"
    coins = ", ".join(f"{money(amount)} {coin}" for coin, amount in facts["balances"].items()) or "nothing"
    lines = [
        "DRY RUN: nothing is latched, cancelled or closed.  Live reads only.",
        f"{facts['env'].upper()}  {facts['venue']}  profile {facts['profile']}  account {shown}"
        f"      {time.strftime('%a %d %b %Y  %H:%M:%S UTC', time.gmtime())}",
        f"scope {facts['scope'].upper()}   key {facts['key']}",
        "",
        f"{'STEP':<10}WHAT WOULD BE DONE",
        *_step_lines(facts),
        *_close_lines(facts),
        "",
        f"LEFT STANDING   balances {coins}; {facts['spot_orders']} spot orders",
        "NOT COVERED     other keys of this account, the web page: keys are listed at portal.cdp.coinbase.com",
        f"To do it        perpctl kill -p {facts['profile']} --force            gentler: --max-slippage 0.30%",
    ]
    return "\n".join(lines) + "\n"


def _step_lines(facts: Facts) -> list[str]:
    mass = f"{len(facts['entries'])} limit orders by ONE request (future, limit, isolated included)"
    by_id = [
        f"          1 by id: {row['side']} {row['remaining']} {row['product']} {row['type']}: an entry"
        for row in facts["entries_by_id"]
    ]
    path = ", then ".join("market" if rung == "market" else f"{Decimal(rung) * 100:.2f} %" for rung in facts["rungs"])
    if facts["at_market_at_once"]:
        path = "at market at once: liquidation is less than 2 % away"
    return [
        *(f"1 latch   {path}: {state}" for path, state in facts["latches"].items()),
        f"2 fence   {facts['bot']['how']}",
        f"3 entries {mass}",
        *by_id,
        f"          {len(facts['stops'])} protective stops stay until their position reads zero",
        f"4 close   {len(facts['closes'])} positions, reduce-only, through the touch: {path}",
        f"5 stops   {len(facts['stops'])} orders by id",
        "6 prove   agreeing reads 1 s apart: orders and positions, all slots; margin in use 0.00",
        f"7 hold    {facts['hold_s']:.0f} s: anything that appears is cancelled, closed and reported",
        f"8 stop    {facts['bot_unit'] or 'no service named in the profile'}",
    ]


def _close_lines(facts: Facts) -> list[str]:
    if not facts["closes"]:
        return ["", "CLOSE     nothing: no position is open"]
    titles = f"{'CLOSE':<26}{'ORDER':<14}{'DEPTH WITHIN 0.10/0.30/0.75 %':<32}"
    lines = ["", f"{titles}{'EXPECTED':>11}{'SLIPPAGE':>11}{'FEE':>9}"]
    for row in facts["closes"]:
        name = row["product"] + (f" iso {row['slot']}" if row["slot"] is not None else "")
        slip = "?" if row["slippage_bps"] is None else f"{row['slippage_bps']} bp"
        order = f"{row['side']} {row['size']}" + ("" if row["units_agree"] else " (whole)")
        cost = f"{row['expected'] or '?':>11}{slip:>11}{row['fee'] or '?':>9}"
        lines.append(f"{name:<26}{order:<14}{' / '.join(row['depth']):<32}{cost}")
    known = [row for row in facts["closes"] if row["slippage"] is not None]
    slippage = sum((Decimal(row["slippage"]) for row in known), ZERO)
    fees = sum((Decimal(row["fee"]) for row in known), ZERO)
    missing = f"; {len(facts['closes']) - len(known)} not known" if len(known) < len(facts["closes"]) else ""
    return [*lines, f"COST      {slippage} slippage + {fees} fees = {slippage + fees} USDC{missing}"]
