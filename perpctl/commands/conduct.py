"""This file conducts a command: asks and draws, shows and carries out, or serves; one event loop each."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import asdict

from perpctl import profile as profiles
from perpctl import render
from perpctl.clock import Clock
from perpctl.commands.surface import Ask, CarryOut, Founding, Serve
from perpctl.desk import Desk
from perpctl.errors import ExitCode, PerpctlError
from perpctl.host.login import login
from perpctl.profile import Profile
from perpctl.results import Answer, Plan
from perpctl.store.facts.looks import note_look

T = TypeVar("T")


def answer(
    asked: Ask, clock: Clock, *, profile: str | None, venue: str | None, output: str, watch: float | None = None
) -> int:
    """Ask once, or again and again, and draw the answer in the form wanted."""
    form = render.Form.named(output)
    if isinstance(asked, Answer):
        return render.show(asked, form)
    chosen = profiles.load(profile, venue)
    _note_look(chosen, clock)
    if watch is not None:
        return asyncio.run(_with_desk(chosen, clock, lambda desk: _watch(asked, desk, form, watch)))
    return render.show(asyncio.run(_with_desk(chosen, clock, asked)), form)


def plan(
    build: CarryOut,
    clock: Clock,
    *,
    lowers_risk: bool,
    closes: bool,
    profile: str | None,
    venue: str | None,
    output: str,
    dry_run: bool,
    yes: bool,
    reason: str,
) -> int:
    """Show, confirm, journal and carry out a plan, for each profile that it is meant for.

    When several live profiles are meant and none was named, positions are closed in none: each is latched, its entries
    are cancelled, and the commands that name one are told.
    """
    from perpctl.procedures import runner

    form = render.Form.named(output)
    wish = runner.Wish(dry_run=dry_run, yes=yes, reason=reason, ask=render.prompt())
    meant: tuple[Profile, ...]
    if isinstance(build, Founding):
        meant, build = (build.profile,), build.build
    else:
        meant = profiles.meant_to_lower_risk(profile, venue) if lowers_risk else (profiles.load(profile, venue),)
    if closes and len(meant) > 1:
        build = _only_reduce(reason)
        does = "would be latched, its entries cancelled" if dry_run else "is latched, its entries cancelled"
        render.tell(f"{len(meant)} {meant[0].env} profiles are meant, none was named: each {does}, NONE IS CLOSED")
        for one in meant:
            render.tell(f"Next:  {_same_words(one.profile)}")
    codes = [
        render.show(asyncio.run(_with_desk(one, clock, lambda desk: runner.carry_out(build, desk, wish))), form)
        for one in meant
    ]
    return runner.worst(codes) if len(codes) == 1 else runner.worst([*codes, ExitCode.PARTIAL])


def _only_reduce(reason: str) -> Callable[[Desk], Awaitable[Plan | Answer]]:
    async def build(desk: Desk) -> Plan:
        from perpctl.procedures import mode

        return await mode.reduce_only(desk, reason or "several live profiles, none named")

    return build


def _same_words(profile: str) -> str:
    """The command line as it was typed, with the profile named."""
    return shlex.join(["perpctl", *sys.argv[1:], "-p", profile])


def service(serve: Serve, clock: Clock, *, profile: str | None, venue: str | None) -> int:
    """Run a service until it is stopped."""
    return asyncio.run(_with_desk(profiles.load(profile, venue), clock, serve))


def _note_look(profile: Profile, clock: Clock) -> None:
    """Who looks at whose money is on the record too, refused or not."""
    note_look(profile.state_dir, clock.now().isoformat().replace("+00:00", "Z"), asdict(login()))


async def _with_desk(profile: Profile, clock: Clock, work: Callable[[Desk], Awaitable[T]]) -> T:
    if (profile.state_dir / "kills").exists():
        from perpctl.procedures.kills import take_up_kill

        if taken := take_up_kill(profile):
            render.tell(taken)
    desk = Desk(profile, clock)
    try:
        return await work(desk)
    except PerpctlError as error:
        error.scope = error.scope or desk.known_scope()
        raise
    finally:
        await desk.aclose()


async def _watch(asked: Callable[[Desk], Awaitable[Answer]], desk: Desk, form: render.Form, every_s: float) -> int:
    """Redraw every `every_s`; the venue is read no oftener than its floor, and ages on the screen count on."""
    screen, code, read_at = render.Redraw(form), 0, float("-inf")
    try:
        while True:
            if desk.clock.monotonic() - read_at >= desk.settings.watch_floor_s:
                read_at, seen = desk.clock.monotonic(), await asked(desk)
            code = screen.draw(seen, desk.clock.monotonic() - read_at)
            await desk.clock.sleep(every_s)
    except asyncio.CancelledError:
        return code
