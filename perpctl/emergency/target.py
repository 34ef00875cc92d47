"""This file finds whom a kill is about: live money first, from the settings that last validated."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from perpctl.errors import StateDamaged, UnknownState, UsageError
from perpctl.store.lease import Lease, process_started
from perpctl.store.snapshot import BUILT_IN, KILL_FOREGROUND_S, KILL_HOLDS_LEAST_S, PAPER, PAPER_AT, Snapshot, read_all

SPOKEN = ("global", "us")
GLOBAL_HTTP = "https://drb.coinbase.com/api/v2"
US_HTTP = "https://api.coinbase.com/api/v3/brokerage"
_HTTP = {"global": GLOBAL_HTTP, "us": US_HTTP}
_SERVED = {  # what the card of an exchange of our own calls a venue's address, and the account behind its key
    "global": ("gateway_http", "account"),
    "us": ("advanced_trade_rest", "us_account"),
}
_START_S = 20.0


class Pin(NamedTuple):
    """The account that a profile is about."""

    account_id: str
    username: str | None


class Timing(NamedTuple):
    """Seconds. Defaults are the documented ones; a profile may set others under `kill`."""

    foreground: float = 120.0
    hold: float = 15.0
    hold_unproven: float = 60.0


class Target(NamedTuple):
    """One profile as the last good settings describe it."""

    profile: str
    env: str
    venue: str
    directory: Path
    http: str | None
    endpoints_file: Path | None
    exchange_command: tuple[str, ...] | None
    key_files: tuple[Path, ...]
    ca_file: str | None
    pin: Pin | None
    scope: str
    currencies: tuple[str, ...]
    symbols: tuple[str, ...]
    latches: tuple[Path, ...]
    bot_unit: str | None
    settings_at_ms: int | None
    timing: Timing = Timing()
    key_name: str | None = None  # of a key file that is a bare PEM

    @property
    def heading(self) -> str:
        """The first words of every answer."""
        return f"{self.env.upper()}  {self.venue}  profile {self.profile}"


class Address(NamedTuple):
    """Where the venue is right now, and who is pinned there."""

    venue: str
    http: str
    ca_file: str | None
    key_files: tuple[Path, ...]
    pin: Pin | None
    key_name: str | None = None


def state_root() -> Path:
    """Where profiles keep their state."""
    return _directory("PERPCTL_STATE_DIR", "XDG_STATE_HOME", ".local/state")


def config_dir() -> Path:
    """Where the user's configuration and identity key live."""
    return _directory("PERPCTL_CONFIG_DIR", "XDG_CONFIG_HOME", ".config")


def _directory(ours: str, theirs: str, otherwise: str) -> Path:
    """As the `platformdirs` package has it, which is not at hand here."""
    if named := os.environ.get(ours):
        return Path(named)
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/perpctl").expanduser()
    if (home := os.environ.get(theirs, "").strip()) != "":
        return Path(home) / "perpctl"
    return Path("~").expanduser() / otherwise / "perpctl"


def find_targets(named: str | None, root: Path, venue: str | None = None) -> tuple[Target, ...]:
    """The profiles meant: the one named; else live ones that show life; else all live ones; else paper.

    A venue chooses among the live ones and between those of paper; of a profile that is named it is asserted.
    Raises UsageError for a name without settings, and when nothing that is meant is at that venue.
    """
    known = {name: _read_target(name, snapshot, root) for name, snapshot in read_all(root).items()}
    for name in BUILT_IN:
        known.setdefault(name, _built_in_paper(root, name))
    for name in _without_settings(root):
        known.setdefault(name, _read_target(name, Snapshot("", 0, {}), root))
    if named is not None:
        if named not in known:
            raise UsageError(
                f"no settings of a profile {named!r} were ever validated on this host; known: {', '.join(known)}",
                not_done="Nothing was latched, cancelled or closed.",
                next_commands=tuple(f"perpctl kill -p {name} --force" for name in known),
            )
        return (_at_venue(known, named, venue),)
    every = tuple(target for target in known.values() if target.env == "live")
    live = tuple(target for target in every if venue in (None, target.venue))
    if every and not live:
        raise _elsewhere(every, venue)
    return tuple(target for target in live if shows_life(target)) or live or _paper(known, venue)


def _at_venue(known: Mapping[str, Target], named: str, venue: str | None) -> Target:
    if venue in (None, known[named].venue):
        return known[named]
    if named == PAPER:
        return known[PAPER_AT[venue]]
    raise _elsewhere((known[named],), venue)


def _paper(known: Mapping[str, Target], venue: str | None) -> tuple[Target, ...]:
    lively = () if venue else tuple(known[name] for name in BUILT_IN if shows_life(known[name]))
    return lively or (_at_venue(known, PAPER, venue),)


def _elsewhere(meant: Sequence[Target], venue: str | None) -> UsageError:
    places = ", ".join(f"{target.profile} is at {target.venue}" for target in meant)
    return UsageError(
        f"--venue {venue}, but profile {places}",
        not_done="Nothing was latched, cancelled or closed.",
        next_commands=tuple(f"perpctl kill -p {target.profile} --force" for target in meant),
    )


def _without_settings(root: Path) -> list[str]:
    """Profiles that have state but no readable settings: they can at least be latched and fenced."""
    marks = ("latch", "lease", "journal.db", "snapshot.json")
    return sorted({path.parent.name for mark in marks for path in root.glob(f"*/{mark}")})


def shows_life(target: Target) -> bool:
    """Whether a bot, a lease or an unfinished kill of this profile is on this host."""
    from perpctl.emergency.pending import unfinished

    try:
        lease = Lease.read(target.directory / "lease")
    except StateDamaged:
        return True
    return (
        (lease is not None and lease.is_held)
        or (target.directory / "control.sock").exists()
        or bool(unfinished(target.directory))
    )


def _read_target(name: str, snapshot: Snapshot, root: Path) -> Target:
    given = snapshot.settings
    directory = Path(given.get("state_dir") or root / name)
    keys = [given.get(member) for member in ("kill_key_file", "key_file", "backup_key_file")]
    endpoints = given.get("endpoints") or {}
    endpoints_file = given.get("endpoints_file")
    venue = str(given.get("venue", "global"))
    return Target(
        profile=name,
        env=str(given.get("env", "live")),
        venue=venue,
        directory=directory,
        http=endpoints.get("http") or (None if endpoints_file else _HTTP.get(venue, GLOBAL_HTTP)),
        endpoints_file=Path(endpoints_file) if endpoints_file else None,
        exchange_command=tuple(given["exchange_command"]) if given.get("exchange_command") else None,
        key_files=tuple(Path(key) for key in keys if key),
        ca_file=given.get("ca_file"),
        pin=_pin(given.get("account")),
        scope=given.get("kill_scope") or "account",
        currencies=tuple(given.get("currencies") or ("USDC",)),
        symbols=tuple(given.get("symbols") or ()),
        latches=tuple(dict.fromkeys([directory / "latch", *(Path(path) for path in given.get("extra_latches") or ())])),
        bot_unit=given.get("bot_unit"),
        settings_at_ms=snapshot.written_at_ms,
        timing=_timing(given.get("kill") or {}, str(given.get("env", "live")), venue),
        key_name=given.get("key_name"),
    )


def _timing(given: Mapping[str, Any], env: str, venue: str) -> Timing:
    """As set, but with live money no hold is shorter than its proof needs, whoever wrote the snapshot."""
    names = {"foreground_s": "foreground", "hold_s": "hold", "hold_unproven_s": "hold_unproven"}
    least = KILL_HOLDS_LEAST_S if env == "live" else {}
    usual = {"foreground": KILL_FOREGROUND_S[venue]} if venue in KILL_FOREGROUND_S else {}
    return Timing(
        **usual
        | {
            names[member]: max(float(value), least.get(member, 0))
            for member, value in given.items()
            if member in names and value is not None
        }
    )


def _built_in_paper(root: Path, name: str) -> Target:
    """A profile that exists without any settings."""
    exchange = root / name / "exchange"
    command = [sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--state-dir", str(exchange)]
    settings = {
        "env": "paper",
        "venue": BUILT_IN[name],
        "endpoints_file": str(exchange / "server.json"),
        "exchange_command": [*command, "--idle-exit", "60"],
    }
    return _read_target(name, Snapshot("", 0, settings), root)


def _pin(account: Mapping[str, Any] | None) -> Pin | None:
    return None if not account else Pin(str(account["id"]), account.get("username"))


# --- where the venue is ----------------------------------------------------------------------------------------------


def locate(target: Target) -> Address:
    """The venue's address; an exchange that we start ourselves is started when it does not live.

    Raises UnknownState when it can be neither found nor started, or is one that kill cannot speak to: then nothing may
    be sent anywhere, for what stands in for an address that is not given belongs to another venue.
    """
    if target.venue not in SPOKEN:
        raise UnknownState(f"kill cannot speak to venue {target.venue!r} yet: cancel and close there by hand")
    if target.http is not None:
        return Address(target.venue, target.http, target.ca_file, target.key_files, target.pin, target.key_name)
    address, owner = _SERVED[target.venue]
    server = _living_server(target.endpoints_file, address) or _started_server(target, address)
    keys = target.key_files or ((Path(server["key_file"]),) if server.get("key_file") else ())
    return Address(
        target.venue,
        str(server[address]),
        server.get("ca_file") or target.ca_file,
        keys,
        target.pin or _pin(server.get(owner)),
        target.key_name,
    )


def _living_server(path: Path | None, address: str) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        server = json.loads(path.read_text())
        return server if process_started(int(server["pid"])) is not None and server[address] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _started_server(target: Target, address: str) -> dict[str, Any]:
    if target.exchange_command is None:
        raise UnknownState(f"{target.endpoints_file} names no living exchange, and nothing says how to start it")
    import select
    import subprocess

    complaint = os.memfd_create("complaint") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
    try:
        child = subprocess.Popen(
            target.exchange_command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaint,
            start_new_session=True,
        )
        assert child.stdout is not None
        with child.stdout as answer:
            ready, _, _ = select.select([answer], [], [], _START_S)
            line = answer.readline() if ready else b""
        if not line:
            with suppress(subprocess.TimeoutExpired):
                child.wait(1)  # it gave up: let it finish saying why
        server: dict[str, Any] = json.loads(line)
        server[address]
        return server
    except OSError as why:
        raise UnknownState(f"the exchange cannot be started: {why.strerror}") from why
    except (ValueError, KeyError, TypeError):
        # Another process may have started it at the same moment and holds its directory.
        if (server_now := _living_server(target.endpoints_file, address)) is not None:
            return server_now
        said = " ".join(os.pread(complaint, 500, 0).decode(errors="replace").split())
        raise UnknownState(f"the exchange does not start: {said or 'it gave no reason'}") from None
    finally:
        os.close(complaint)


def as_fraction(text: str) -> Decimal:
    """`0.30%` or `0.003` as a fraction. Raises UsageError."""
    from perpctl.model.money import parse_decimal

    try:
        number = parse_decimal(text.strip().removesuffix("%").strip())
    except ValueError:
        number = Decimal(-1)
    fraction = number / 100 if text.strip().endswith("%") else number
    if not 0 < fraction < Decimal("0.5"):
        raise UsageError(f"--max-slippage {text!r}: give a share of the price such as 0.30% or 0.003")
    return fraction
