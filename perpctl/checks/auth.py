"""This file tests how we sign in, in the order in which it can go wrong: public call, key file, clock, sign-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.checks import gate
from perpctl.checks.clocks import clock_words, judged_clock
from perpctl.checks.gate import Finding, Gate, Outcome, Verdict, failed, passed, warned
from perpctl.errors import ExitCode, PerpctlError, UnknownState
from perpctl.exchange.port import Grant, Unsupported
from perpctl.questions import figures
from perpctl.results import Answer, Block, Json, Line, Next, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk

NOTHING_TO_RENEW = "there is nothing to renew by hand"


async def test(desk: Desk) -> Answer:
    """Exit 0 when all holds; 4 when the key does not work; 3 when the venue cannot be asked. The cause in words."""
    asked, outcomes = _Asked(desk), list[Outcome]()
    for name, look in (
        ("public call", asked.public_call),
        ("key file", asked.key_file),  # needs no venue, and what follows may be signed with it
        ("clock", asked.clock),
        ("sign in", asked.sign_in),
        ("account", asked.account),
        ("permissions", asked.permissions),
    ):
        outcomes += await gate.run([Gate("SIGNING IN", name, look, 5.0)], desk.clock)
        if outcomes[-1].finding.verdict in (Verdict.FAIL, Verdict.UNKNOWN):
            break
    now, last = desk.clock.monotonic(), outcomes[-1]
    code = _code(last.finding.verdict)
    good = code is ExitCode.OK
    words = "signing in works" if good else f"STOPPED AT: {last.gate.name}: {last.finding.evidence}"
    fixes = gate.fixes(outcomes) or (() if good else (f"perpctl -p {desk.settings.profile} market status",))
    view: tuple[Block, ...] = (
        gate.table(outcomes, now),
        Line(words, Tone.GOOD if good else Tone.BAD, mark=not good),
        Next(fixes),
    )
    facts: dict[str, Json] = {"works": good, "steps": [one.facts(now) for one in outcomes]}
    trouble = "" if good else words
    return Answer("perpctl.auth.test/1", desk.known_scope(), facts, view, code, "steps", trouble=trouble)


def _code(verdict: Verdict) -> ExitCode:
    return {Verdict.FAIL: ExitCode.CREDENTIAL, Verdict.UNKNOWN: ExitCode.UNKNOWN}.get(verdict, ExitCode.OK)


class _Asked:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def public_call(self) -> Finding:
        at_ms = await (await self._desk.market()).time_ms()
        return passed(f"the venue answers without a key: its time is {figures.clock(at_ms)}")

    async def clock(self) -> Finding:
        return judged_clock(await (await self._desk.market()).status())

    async def key_file(self) -> Finding:
        from perpctl.exchange.keys import read_key

        access = await self._desk.access()
        file = access.key_file
        if file is None:
            return failed(
                "this profile names no key file", "perpctl config init NAME --key-file FILE --kill-scope account"
            )
        key = read_key(file, access.key_name)
        return passed(f"{key.algorithm} {key.short_id}; a regular file, ours, 0600: {file}")

    async def sign_in(self) -> Finding:
        grant = await (await self._desk.market()).grant()
        if isinstance(grant, Unsupported):
            return passed(grant.reason)
        done = "signed for this request, and taken" if grant.per_request else "exchanged"
        return passed(f"token {done}; it lives {grant.life_s:.0f} s")

    async def account(self) -> Finding:
        await self._desk.exchange()
        scope = self._desk.known_scope()
        if scope.pinned == "pinned":
            return passed(f"account {scope.account} = pinned")
        fix = f"perpctl -p {self._desk.settings.profile} account pin"
        return warned(f"account {scope.account}, which this profile does not pin", fix)

    async def permissions(self) -> Finding:
        grant = await (await self._desk.market()).grant()
        if isinstance(grant, Unsupported):
            return passed(grant.reason)
        return judged_scope(grant.scope)


def judged_scope(scope: str) -> Finding:
    """A key that can move money away is refused: what is stolen with it is not only traded."""
    if "transfer" in scope:
        return failed(f"{scope_words(scope)}: this key may move money away", "make a key without transfer permission")
    return passed(scope_words(scope)) if scope else warned("the venue does not tell what this key may do")


def scope_words(scope: str) -> str:
    """`rat#view rat#trade` in words."""
    may = [word.rpartition("#")[2] for word in scope.split()]
    return ", ".join(may) + ("" if "transfer" in may else "; transfer no")


async def expiry(desk: Desk) -> Answer:
    """How long tokens live here, and how far the clocks are apart. Exit 4 or 3 when that cannot be told."""
    exchange = await desk.market()
    status, grant = await exchange.status(), await exchange.grant()
    clock = Line(f"CLOCK   {clock_words(status)}")
    facts: dict[str, Json] = {
        "clock_offset_ms": status.wall_offset_ms,
        "market_offset_ms": status.offset_ms,
        "round_trip_ms": status.round_trip_ms,
    }
    if isinstance(grant, Unsupported):
        view: tuple[Block, ...] = (Line(f"TOKEN   {grant.reason}"), clock)
        return Answer("perpctl.auth.expiry/1", await desk.scope(), facts, view)
    lines, told = _lives(grant)
    view = (Line(f"KEY     {grant.key}"), *map(Line, lines), clock, Line(_not_by_hand(grant), Tone.DIM))
    facts |= {"key": grant.key, "signed_life_s": f"{grant.jwt_life_s:.0f}", **told}
    return Answer("perpctl.auth.expiry/1", await desk.scope(), facts, view)


def _lives(grant: Grant) -> tuple[list[str], dict[str, Json]]:
    """Which tokens there are, and how long each lives."""
    signed = f"SIGNED  lives {grant.jwt_life_s:.0f} s; made for each"
    if grant.per_request:
        return [f"{signed} request and each subscription, used once"], {}
    renewed = f"{grant.life_s * 0.6:.0f}"
    lines = [
        f"{signed} sign-in, used once",
        f"ACCESS  lives {grant.life_s:.0f} s over HTTP; renewed by itself after {renewed} s",
        "SOCKET  is its own credential; signed in again on the same socket after 40 min",
    ]
    return lines, {"access_life_s": f"{grant.life_s:.0f}", "renewed_after_s": renewed}


def _not_by_hand(grant: Grant) -> str:
    each = "request" if grant.per_request else "sign-in"
    return f"a signed token lives {grant.jwt_life_s:.0f} s and is made afresh for each {each}: {NOTHING_TO_RENEW}"


async def refresh(desk: Desk) -> Answer:
    """A new token now, proven by a private call with it. A running bot renews its own and needs none of this."""
    exchange = await desk.market()
    try:
        grant = await exchange.grant()
        identity = await exchange.identity()
    except UnknownState:
        raise
    except PerpctlError as why:
        why.next_commands = (f"perpctl -p {desk.settings.profile} auth test",)
        raise
    if isinstance(grant, Grant):
        lines = [f"new token for {grant.key}: lives {grant.life_s:.0f} s; a private call with it answers"]
        lines.append(_not_by_hand(grant))
        facts: dict[str, Json] = {"refreshed": True, "life_s": f"{grant.life_s:.0f}", "account": identity.account_id}
    else:
        lines, facts = [f"nothing to refresh: {grant.reason}"], {"refreshed": False}
    test_it = Next((f"perpctl -p {desk.settings.profile} auth test",))
    view: tuple[Block, ...] = (Line(lines[0], Tone.GOOD), *(Line(line, Tone.DIM) for line in lines[1:]), test_it)
    return Answer("perpctl.auth.refresh/1", await desk.scope(), facts, view)
