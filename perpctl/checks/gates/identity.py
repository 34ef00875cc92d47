"""This file holds the gates of who we are: the account, the keys that reach it, and the clock they are signed by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perpctl.checks.auth import judged_scope
from perpctl.checks.clocks import judged_clock
from perpctl.checks.gate import Finding, Gate, failed, passed, warned
from perpctl.errors import CredentialError
from perpctl.exchange.keys import read_key
from perpctl.exchange.port import Unsupported

if TYPE_CHECKING:
    from perpctl.desk import Desk

SECTION = "IDENTITY"


def gates(desk: Desk) -> Sequence[Gate]:
    """In the order of the screen."""
    asked = _Asked(desk)
    return (
        Gate(SECTION, "account", asked.account),
        Gate(SECTION, "key", asked.key),
        Gate(SECTION, "kill key", asked.kill_key),
        Gate(SECTION, "backup key", asked.backup_key),
        Gate(SECTION, "clock", asked.clock),
    )


class _Asked:
    """The questions, each one bound to the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._name = desk.settings.profile

    async def account(self) -> Finding:
        account = await (await self._desk.exchange()).account()
        scope = self._desk.known_scope()
        model = f"; margin model {account.margin_model}" if account.margin_model else ""
        if scope.pinned == "pinned":
            return passed(f"the venue reports account {scope.account} = pinned{model}")
        words = f"the venue reports account {scope.account}; this profile pins none"
        return failed(words, f"perpctl -p {self._name} account pin")

    async def key(self) -> Finding:
        access = await self._desk.access()
        if access.key_file is None:
            return failed("no key file is named", "perpctl config init NAME --key-file FILE --kill-scope account")
        key = read_key(access.key_file, access.key_name)
        await self._desk.exchange()
        grant = await (await self._desk.market()).grant()
        named = f"{key.algorithm} {key.short_id}"
        if isinstance(grant, Unsupported):
            return passed(f"{named} signs in; file 0600, ours, no link; permissions n/a: {grant.reason}")
        judged = judged_scope(grant.scope)
        return Finding(judged.verdict, f"{named}: {judged.evidence}; file 0600, ours, no link", judged.fix)

    async def kill_key(self) -> Finding:
        return await self._other_key(self._desk.settings.kill_key_file, "kill uses the trading key")

    async def backup_key(self) -> Finding:
        return await self._other_key(self._desk.settings.backup_key_file, "there is none to switch to")

    async def _other_key(self, file: Path | None, without: str) -> Finding:
        """It must reach the pinned account: a key made elsewhere lists nothing, and would call it flat."""
        settings = self._desk.settings
        if file is None:
            return warned(f"not set: {without}") if settings.env == "live" else passed(f"none on paper: {without}")
        try:
            key = read_key(file)
        except CredentialError as why:
            return failed(why.message, "make a new key, or chmod 600 its file")
        exchange = await self._desk.open_exchange(key_file=file)
        try:
            seen = await exchange.identity()
        finally:
            await exchange.aclose()
        ours = (await (await self._desk.exchange()).identity()).account_id
        if seen.account_id != ours:
            words = f"{key.short_id} sees account {seen.account_id}, not {ours}: it would call an empty account flat"
            return failed(words, f"make a new key inside account {ours}")
        return passed(f"{key.short_id} sees the same account {ours}")

    async def clock(self) -> Finding:
        return judged_clock(await (await self._desk.market()).status())
