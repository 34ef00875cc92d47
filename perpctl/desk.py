"""The desk: what an operator works with; exchange, journal and latch are opened when first asked for."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from perpctl import __version__
from perpctl.clock import Clock
from perpctl.errors import AccountMismatch, CredentialError, UnknownState, UsageError
from perpctl.host import own_exchange
from perpctl.host.build import build_hash
from perpctl.host.login import operator
from perpctl.model.mode import Mode
from perpctl.profile import Endpoints, Pin, Profile, config_dir, config_files
from perpctl.results import Scope, Standing
from perpctl.store.identity_key import load_identity_key
from perpctl.store.latch import Latch, LatchState
from perpctl.store.lease import Lease

if TYPE_CHECKING:
    from perpctl.exchange.access import Access
    from perpctl.exchange.port import Exchange, Identity, MaySend
    from perpctl.model.passage import ClockReading
    from perpctl.store.journal import Journal
    from perpctl.store.projections import Projections

_ADAPTERS = {  # imported on first use
    "global": ("perpctl.exchange.gateway.client", "open_gateway"),
    "us": ("perpctl.exchange.advanced_trade.client", "open_advanced_trade"),
}
_SERVED = {  # what the card of an exchange of our own calls a venue's three addresses and the account behind its key
    "global": ("gateway_http", "gateway_ws", "gateway_streams", "account"),
    "us": ("advanced_trade_rest", "advanced_trade_ws_user", "advanced_trade_ws", "us_account"),
}
_PINNED, _NOT_PINNED, _DIFFERS, _UNKNOWN = "pinned", "not pinned", "differs", "unknown"


class Desk:
    """One operator at one profile, for the time of one command."""

    def __init__(self, settings: Profile, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self._pin = settings.account
        self._access: Access | None = None
        self._opening = asyncio.Lock()
        self._exchange: Exchange | None = None
        self._identity: Identity | None = None
        self._journal: Journal | None = None
        self._clock_reading: ClockReading | None = None
        self._listening = False

    # --- the venue ----------------------------------------------------------------------------------------------------

    async def access(self) -> Access:
        """Where the venue is and with which key; an exchange of our own is started when it does not run."""
        async with self._opening:  # questions asked side by side must not start an exchange each
            if self._access is None:
                self._access = await self._find_access()
            return self._access

    async def market(self) -> Exchange:
        """The exchange for what is public: no account is asked for, no key is read."""
        if self._exchange is None:
            self._exchange = await self.open_exchange()
        return self._exchange

    async def exchange(self) -> Exchange:
        """The exchange, its account compared with the pinned one. Raises AccountMismatch, VenueUnreachable."""
        exchange = await self.market()
        if self._identity is None:
            self._identity = await exchange.identity()
        if self._pinned() == _DIFFERS:
            assert self._pin is not None
            raise AccountMismatch(
                f"the venue answered for account {self._identity.account_id}, pinned is {self._pin.id}",
                not_done="nothing was sent, and nothing read is about the pinned account",
                next_commands=(f"perpctl -p {self.settings.profile} auth test",),
            )
        return exchange

    async def open_exchange(self, may_send: MaySend | None = None, *, key_file: Path | None = None) -> Exchange:
        """A client of one's own, for whoever decides by `may_send` what may leave; `key_file`: with another key."""
        if self.settings.venue not in _ADAPTERS:
            raise UsageError(f"venue {self.settings.venue} is not spoken by this version", not_done="nothing was sent")
        module, name = _ADAPTERS[self.settings.venue]
        if not self._listening:
            self.listen()
        access = await self.access()
        if key_file is not None:
            access = replace(access, key_file=key_file, key_name=None)
        opened: Exchange = getattr(import_module(module), name)(access, self.clock, may_send=may_send)
        opened.tell_clock(self._remember_clock)
        return opened

    def listen(self, file: Path | None = None) -> None:
        """Write this process's log as the settings ask: to stderr, or to `file`."""
        from perpctl.host import log

        settings, self._listening = self.settings, True
        log.listen(log.Wish(settings.log_level, settings.debug_api_calls, settings.debug_websocket), self.clock, file)

    # --- what we remember ---------------------------------------------------------------------------------------------

    def journal(self) -> Journal:
        """The profile's journal, made at first use. Raises StateDamaged."""
        if self._journal is None:
            from perpctl.store.journal import Journal

            self._ready_latch()
            writer = self._writer()
            self._journal = Journal.open(self.settings.state_dir / "journal.db", writer, self.clock)
            self._journal.clock_reading = self._clock_reading
        return self._journal

    def _remember_clock(self, reading: ClockReading) -> None:
        """How far our clock is off belongs on every line that is written from now on."""
        self._clock_reading = reading
        if self._journal is not None:
            self._journal.clock_reading = reading

    def projections(self) -> Projections:
        """What the journal comes to: orders, fills, positions, funding. Raises StateDamaged."""
        from perpctl.model import identity
        from perpctl.store.projections import Projections

        key = self.identity_key()
        return Projections(self.journal(), lambda label: label is not None and identity.is_ours(key, label))

    def latch(self) -> Latch:
        """The profile's latch, with the other places that can halt it."""
        settings = self.settings
        return Latch(
            settings.state_dir / "latch",
            trading_disabled_file=settings.trading_disabled_file,
            extra_latches=settings.extra_latches,
        )

    def identity_key(self) -> bytes:
        """The key that tells our orders from others', made at first use."""
        return load_identity_key(config_dir())

    # --- what every answer says first ---------------------------------------------------------------------------------

    async def scope(self) -> Scope:
        """Whose money it is; when the venue cannot tell, the account is unknown and nothing else is claimed."""
        if self._identity is None:
            try:
                await self.exchange()
            except (UnknownState, CredentialError):
                return self.known_scope()
        return self.known_scope()

    def known_scope(self) -> Scope:
        """Whose money it is as far as the venue has told by now; asks nothing."""
        settings, seen = self.settings, self._identity
        return Scope(
            env=settings.env,
            venue=settings.venue,
            profile=settings.profile,
            account=seen.account_id if seen else None,
            pinned=self._pinned(),
            at=self.clock.now(),
            last_seen_account=None if seen or self._pin is None else self._pin.id,
        )

    def standing(
        self, *, venue_state: str | None = None, source: str | None = None, age_s: float | None = None
    ) -> Standing:
        """How the desk stands now: mode, latch and bot from their files; the rest is what the caller read."""
        state = self.latch().read()
        return Standing(
            mode=state.mode.value,
            latch=_latch_text(state),
            bot=self._bot_text(),
            venue_state=venue_state,
            source=source,
            age_s=age_s,
        )

    async def aclose(self) -> None:
        """Let go of everything that was opened."""
        if self._exchange is not None:
            await self._exchange.aclose()
        if self._journal is not None:
            self._journal.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _pinned(self) -> str:
        if self._identity is None:
            return _UNKNOWN
        if self._pin is None:
            return _NOT_PINNED
        same_name = self._pin.username in (None, self._identity.username)
        return _PINNED if self._pin.id == self._identity.account_id and same_name else _DIFFERS

    async def _find_access(self) -> Access:
        from perpctl.exchange.access import PUBLIC, Access

        settings, endpoints, key_file, ca_file = self.settings, self.settings.endpoints, None, None
        if endpoints is None and settings.endpoints_file is not None:
            served = await asyncio.to_thread(own_exchange.served, settings.endpoints_file, settings.exchange_command)
            *addresses, owner = _SERVED[settings.venue]
            endpoints = Endpoints(*(served[name] for name in addresses))
            key_file, ca_file = _path(served["key_file"]), _path(served["ca_file"])
            if self._pin is None and owner in served:
                self._pin = Pin(**served[owner])
        access = Access(
            key_file=settings.key_file or key_file,
            ca_file=settings.ca_file or ca_file,
            key_name=settings.key_name,
            first_pause_s=settings.initial_retry_delay_s,
        )
        if endpoints is None:
            endpoints = Endpoints(*PUBLIC[settings.venue])
        return replace(access, http=endpoints.http, ws=endpoints.ws, streams=endpoints.streams)

    def _writer(self) -> Any:
        from perpctl.store.records import Writer

        return Writer(
            who=operator(),
            process=" ".join(["perpctl", *sys.argv[1:2]]),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            env=self.settings.env,
            venue=self.settings.venue,
            profile=self.settings.profile,
            build_hash=build_hash(),
            config_hash=_config_hash(),
            account_id=self._identity.account_id if self._identity else None,
        )

    def _ready_latch(self) -> None:
        """A latch absent beside a journal means halted, so the first journal comes after the first latch."""
        directory = self.settings.state_dir
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (directory / "journal.db").exists() and not (directory / "latch").exists():
            at_ms = int(self.clock.now().timestamp() * 1000)
            self.latch().write(LatchState(Mode.NORMAL, operator(), "state directory made", at_ms, "human"))

    def _bot_text(self) -> str:
        lease = Lease.read(self.settings.state_dir / "lease")
        return f"{lease.holder} alive, pid {lease.pid}" if lease is not None and lease.is_held else "none"


def _config_hash() -> str | None:
    """Of the files that settings came from, the weakest first; None when there is none."""
    found = [path.read_bytes() for path in config_files() if path.is_file()]
    return hashlib.sha256(b"\0".join(found)).hexdigest()[:16] if found else None


def _latch_text(state: LatchState) -> str:
    if state.mode is Mode.NORMAL:
        return "off"
    return f"ON by {state.who or state.cause}: {state.why}"


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
