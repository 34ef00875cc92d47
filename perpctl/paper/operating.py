"""This file is what an operator does with the paper exchange of a profile: ask how it is, and interfere with it."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from perpctl.clock import from_ms
from perpctl.errors import ExitCode, HeldByAnother, PerpctlError, UsageError, VenueUnreachable
from perpctl.results import Answer, Confirm, Done, Json, Line, Next, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.paper.keys import Algorithm

TIMEOUT_S = 10.0
START = "perpctl paper serve --port 0"
ADDRESSES = (
    "pid", "gateway_http", "gateway_ws", "gateway_streams", "advanced_trade_rest", "advanced_trade_ws",
    "advanced_trade_ws_user", "control",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Served:
    """How one of the two venues that an exchange serves stands in its status."""

    address: str
    within: str | None  # where its own part of the status is; None: at the top
    prices: str  # what positions are valued at: a mark is published at one of them only
    unit: str
    portfolios: bool  # its accounts go by the portfolio of their key


_SERVED = {
    "global": _Served("gateway_http", None, "marks", "USDC", portfolios=False),
    "us": _Served("advanced_trade_rest", "us", "FCM prices", "USD", portfolios=True),
}


def folder_of(desk: Desk) -> Path:
    """Where the profile's own exchange keeps its state. Raises UsageError when the profile has none."""
    file = desk.settings.endpoints_file
    if file is None:
        raise UsageError(
            f"profile {desk.settings.profile} has no paper exchange of its own",
            not_done="nothing was done",
            next_commands=("perpctl -p paper paper status",),
        )
    return file.parent


@dataclass(frozen=True, slots=True)
class Remote:
    """The control plane of a running exchange."""

    card: Mapping[str, Any]

    async def ask(self, method: str, path: str, content: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Its answer. Raises UsageError for what it refuses, VenueUnreachable when it does not answer."""
        return await asyncio.to_thread(self._ask, method, path, content)

    def _ask(self, method: str, path: str, content: Mapping[str, object] | None) -> dict[str, Any]:
        address = urlsplit(str(self.card["control"]))
        connection = self._connect(address.scheme, address.hostname or "", address.port)
        try:
            connection.request(method, address.path + path, json.dumps(content) if content is not None else None)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError) as why:
            raise VenueUnreachable(
                f"the paper exchange does not answer: {why}", not_done="nothing is known to be done"
            ) from why
        finally:
            connection.close()
        if reply.status != 200:
            raise UsageError(f"the paper exchange refused: {answer.get('error')}", not_done="nothing was changed")
        return cast(dict[str, Any], answer)

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "https":
            context = ssl.create_default_context(cafile=self.card["ca_file"])
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def running(folder: Path) -> Remote | None:
    """The exchange that serves this directory now, or None."""
    try:
        card = json.loads((folder / "server.json").read_text())
        Remote(card)._ask("GET", "/fault", None)
    except (OSError, ValueError, KeyError, PerpctlError):
        return None
    return Remote(card)


async def _started(desk: Desk) -> Remote:
    """The profile's exchange, started when it does not run."""
    folder = folder_of(desk)
    await desk.access()
    found = await asyncio.to_thread(running, folder)
    if found is None:
        raise VenueUnreachable("the paper exchange does not answer", not_done="nothing was changed")
    return found


async def status(desk: Desk) -> Answer:
    """How the exchange is; exit 1 when none runs."""
    folder = folder_of(desk)
    remote = await asyncio.to_thread(running, folder)
    if remote is None:
        facts: dict[str, Json] = {"running": False, "state_dir": str(folder)}
        view = (Line(f"no paper exchange runs in {folder}"), Next((START,)))
        return Answer("perpctl.paper.status/1", desk.known_scope(), facts, view, ExitCode.NEGATIVE)
    seen = await remote.ask("GET", "/status")
    ready = {name: remote.card[name] for name in ADDRESSES}
    served = _SERVED[desk.settings.venue]
    here = seen if served.within is None else seen[served.within]
    prices = ", ".join(f"{name} {Decimal(price).normalize():f}" for name, price in here["marks"].items())
    lines = [
        Line(f"running, pid {ready['pid']}, {seen['connections']} connections, {ready[served.address]}"),
        Line(f"market time {_moment(seen['market_time_ms'])}, speed {seen['speed'] or 'max'}"),
        Line(f"{served.prices} {prices}"),
        *(_account_line(served, number, account) for number, account in here["accounts"].items()),
    ]
    lines += [Line(f"fault {rule['id']}: {rule['kind']} {rule['method']}", mark=True) for rule in seen["faults"]]
    body: dict[str, Json] = {"running": True, "state_dir": str(folder), **ready, **seen}
    return Answer("perpctl.paper.status/1", desk.known_scope(), body, tuple(lines))


def _moment(at_ms: int) -> str:
    return f"{from_ms(at_ms):%a %d %b %Y %H:%M:%S} UTC"


def _account_line(served: _Served, number: str, account: Mapping[str, Any]) -> Line:
    from perpctl.paper.keys import portfolio_of

    held = ", ".join(f"{size} {name}" for name, size in account["positions"].items()) or "flat"
    whose = f"portfolio {portfolio_of(int(number))}" if served.portfolios else f"account {number}"
    text = f"{whose} ({account['username']}): equity {Decimal(account['equity']):,.2f} {served.unit}, "
    return Line(f"{text}open orders {account['open_orders']}, {held}")


def _plan(
    desk: Desk, name: str, would: str, perform: Callable[[], Awaitable[StepResult]], confirm: Confirm = Confirm.NONE
) -> Plan:
    async def preview() -> str:
        return would

    step = Step(name.rpartition(" ")[2], name, preview, perform)
    return Plan(name, desk.known_scope(), Risk.NONE, confirm, would, (step,))


async def make_key(desk: Desk, algorithm: Algorithm, out: Path, permissions: str, account: int) -> Plan:
    """A CDP key file that this profile's exchange accepts, also while it runs."""
    folder, wanted = folder_of(desk), tuple(word.strip() for word in permissions.split(","))

    async def perform() -> StepResult:
        from perpctl.paper.keys import KeyRing

        key = KeyRing(folder).create(algorithm, out, wanted, account, desk.clock.now())
        facts: dict[str, Json] = {
            "key_file": str(out),
            "name": key.name,
            "permissions": list(wanted),
            "portfolio": key.portfolio,
        }
        return StepResult(Done.DONE, f"{out} (0600), {key.name}, {permissions}", (), facts)

    return _plan(desk, "paper key", f"write a new {algorithm} key to {out}", perform)


async def reset(desk: Desk, *, force: bool = False) -> Plan:
    """Start anew: accounts, orders, fills and ledger are forgotten, keys stay. Works with a damaged state too.

    Raises HeldByAnother while a bot of the profile trades there: its orders and fills would be gone under it.
    """
    folder, bot = folder_of(desk), desk.standing().bot
    if bot != "none" and not force:
        name = desk.settings.profile
        raise HeldByAnother(
            f"a bot trades there: {bot}",
            not_done="nothing was forgotten",
            next_commands=(
                f"perpctl -p {name} status",
                f"perpctl kill -p {name}",
                f"perpctl -p {name} paper reset --force",
            ),
        )

    async def perform() -> StepResult:
        from perpctl.paper.state import forget

        remote = await asyncio.to_thread(running, folder)
        if remote is None:
            await asyncio.to_thread(forget, folder)
            return StepResult(Done.DONE, f"{folder} is empty; the next start begins anew")
        await remote.ask("POST", "/reset", {})
        return StepResult(Done.DONE, f"the running exchange (pid {remote.card['pid']}) began anew")

    return _plan(desk, "paper reset", f"forget every account, order and fill in {folder}", perform, Confirm.YES)


async def set_price(desk: Desk, symbol: str, price: str) -> Plan:
    """Move a market, and the path of its feed with it. Raises UsageError for a price between two ticks."""
    instrument = _name_of(symbol, desk.settings.venue)
    _check_tick(instrument, price)

    async def perform() -> StepResult:
        remote = await _started(desk)
        seen = await remote.ask("POST", "/price", {"instrument_name": instrument, "price": price})
        return StepResult(Done.DONE, f"{instrument} mark {seen['mark_price']}", (), seen)

    return _plan(desk, "paper price", f"move {instrument} to {price}", perform)


def _name_of(symbol: str, venue: str) -> str:
    """The exchange's name for BTC-PERP; one of its own names stays. Raises UsageError for what it does not list."""
    from perpctl.paper.products import GATEWAY_PRODUCTS
    from perpctl.paper.terms.us import US_PRODUCTS

    if any(one.name == symbol for one in (*GATEWAY_PRODUCTS, *US_PRODUCTS)):
        return symbol
    listed = US_PRODUCTS if venue == "us" else GATEWAY_PRODUCTS
    named = {f"{one.base}-PERP": one.name for one in reversed(listed) if one.tradable}
    if symbol.upper() not in named:
        there_are = ", ".join(f"{short} ({name})" for short, name in named.items())
        raise UsageError(f"no such instrument: {symbol}; there are {there_are}", not_done="nothing was moved")
    return named[symbol.upper()]


def _check_tick(instrument: str, price: str) -> None:
    """A price off the tick can be no price of that market; what is no number or no product the exchange names."""
    from perpctl.paper.products import GATEWAY_PRODUCTS
    from perpctl.paper.terms.us import US_PRODUCTS

    tick = next((one.tick for one in (*GATEWAY_PRODUCTS, *US_PRODUCTS) if one.name == instrument), None)
    try:
        asked = Decimal(price)
    except InvalidOperation:
        return
    if tick is None or not asked.is_finite() or asked % tick == 0:
        return
    below = asked // tick * tick
    raise UsageError(
        f"{price} is off the tick of {instrument}, which is {tick:f}: {below:f} or {below + tick:f}",
        not_done="nothing was moved",
        next_commands=(f"perpctl paper price {instrument} {below:f}",),
    )


async def add_fault(desk: Desk, rule: Mapping[str, object]) -> Plan:
    """Make the exchange misbehave."""

    async def perform() -> StepResult:
        seen = await (await _started(desk)).ask("POST", "/fault", rule)
        return StepResult(Done.DONE, f"fault {seen['id']} is in force", (), seen)

    words = " ".join(f"{name}={value}" for name, value in rule.items())
    return _plan(desk, "paper fault", f"add the fault {words}", perform)


async def clear_faults(desk: Desk, number: int | None) -> Plan:
    """End one fault, or all."""

    async def perform() -> StepResult:
        seen = await (await _started(desk)).ask("DELETE", "/fault", {} if number is None else {"id": number})
        return StepResult(Done.DONE if seen["cleared"] else Done.NOTHING_TO_DO, f"{seen['cleared']} ended", (), seen)

    return _plan(desk, "paper fault", "end every fault" if number is None else f"end fault {number}", perform)


async def serve(desk: Desk, **given: Any) -> int:
    """Serve the profile's exchange until stopped."""
    from perpctl.paper.server import Options, read_speed, serve_here

    speed = read_speed(str(given.pop("speed")))
    await serve_here(Options(state_dir=folder_of(desk), speed=speed, **given))
    return ExitCode.OK
