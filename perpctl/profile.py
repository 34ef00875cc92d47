"""The profile: whose money, at which venue, with which files; read from the snapshot while nothing has changed.

Standard library only: commands that are typed one after another must not wait for the schema.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from perpctl import __version__
from perpctl.errors import StateDamaged, UsageError
from perpctl.store.lease import Lease
from perpctl.store.snapshot import BUILT_IN, PAPER, PAPER_AT, read_snapshot, snapshot_key

_ON_LINUX: bool = sys.platform == "linux"
_WATCH_FLOOR_S = {"global": 2.0, "us": 5.0}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a venue answers."""

    http: str
    ws: str
    streams: str


@dataclass(frozen=True, slots=True)
class Pin:
    """The account that a profile is bound to, as the venue reported it."""

    id: str
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings of one profile that validated. Paths are absolute; `limits` are overrides of the risk level's rows."""

    profile: str
    env: str  # "paper" | "live"
    venue: str  # "global" | "us"
    state_dir: Path
    endpoints: Endpoints | None = None
    endpoints_file: Path | None = None
    exchange_command: tuple[str, ...] | None = None
    key_file: Path | None = None
    key_name: str | None = None
    backup_key_file: Path | None = None
    kill_key_file: Path | None = None
    ca_file: Path | None = None
    account: Pin | None = None
    kill_scope: str | None = None
    kill: Mapping[str, float] = field(default_factory=dict)  # seconds: foreground_s, hold_s, hold_unproven_s
    currencies: tuple[str, ...] = ("USDC",)
    symbols: tuple[str, ...] = ("BTC-PERP",)
    risk_level: str | None = None
    limits: Mapping[str, str] = field(default_factory=dict)
    trading_disabled_file: Path = Path("/tmp/TRADING_DISABLED")  # noqa: S108  the runbook's own path
    extra_latches: tuple[Path, ...] = ()
    bot_unit: str | None = None
    local_api_port: int = 8080
    log_level: str = "INFO"
    debug_api_calls: bool = False
    debug_websocket: bool = False
    rate_limit_backoff: str = "exponential"  # with full jitter; there is no other
    initial_retry_delay_s: float | None = None  # the longest first wait of a repeated read; None: by its class
    foreign: str = "count"  # orders and positions that are not ours: "count" | "halt" | "ignore"
    foreign_products: tuple[str, ...] = ()  # with "ignore": what others trade in this account
    isolated_products: tuple[str, ...] = ()  # where isolated margin may be used
    unattended_kill: bool = False  # whether the bot may start a kill when nobody is there

    @property
    def watch_floor_s(self) -> float:
        """The venue is read no oftener than this by a command that watches."""
        return _WATCH_FLOOR_S[self.venue]

    @property
    def takes_any_port(self) -> bool:
        """Whether the local service may move to a free port when its own is taken; with live money it may not."""
        return self.env == PAPER

    def to_snapshot(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_snapshot(cls, settings: Mapping[str, Any]) -> Profile:
        """From what `to_snapshot` wrote. Raises StateDamaged when it is of another make."""
        try:
            members = {entry.name: settings[entry.name] for entry in fields(cls)}
            return cls(**{key: _restored(key, value) for key, value in members.items()})
        except (KeyError, TypeError, AttributeError) as why:
            raise StateDamaged(f"the settings snapshot does not fit this version: {why!r}") from why


_PATHS = {"state_dir", "endpoints_file", "key_file", "backup_key_file", "kill_key_file", "ca_file"}
_PATHS |= {"trading_disabled_file"}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _restored(key: str, value: Any) -> Any:
    if value is None:
        return None
    if key in _PATHS:
        return Path(value)
    if key == "extra_latches":
        return tuple(Path(one) for one in value)
    if key == "endpoints":
        return Endpoints(**value)
    if key == "account":
        return Pin(**value)
    return tuple(value) if isinstance(value, list) else value


def state_root() -> Path:
    """Where every profile has its directory."""
    return _directory("PERPCTL_STATE_DIR", "XDG_STATE_HOME", ".local/state", "user_state_dir")


def config_dir() -> Path:
    """Where the user's configuration and `identity.key` are."""
    return _directory("PERPCTL_CONFIG_DIR", "XDG_CONFIG_HOME", ".config", "user_config_dir")


def _directory(ours: str, xdg: str, beneath_home: str, elsewhere: str) -> Path:
    if named := os.environ.get(ours):
        return Path(named).absolute()
    if _ON_LINUX:  # what platformdirs says there, without the time its import takes
        return Path(os.environ.get(xdg) or Path.home() / beneath_home) / "perpctl"
    import platformdirs

    return Path(getattr(platformdirs, elsewhere)("perpctl"))


def config_files() -> tuple[Path, ...]:
    """Every file that settings may come from, the weakest first."""
    system = Path(os.environ.get("PERPCTL_SYSTEM_CONFIG") or "/etc/perpctl/config.toml")
    return (system, config_dir() / "config.toml", Path.cwd() / "perpctl.toml")


RUNBOOK_VARIABLES = {
    "COINBASE_CDP_API_KEY": "key_name",
    "COINBASE_CDP_PRIVATE_KEY_PATH": "key_file",
    "LOG_LEVEL": "log_level",
    "DEBUG_API_CALLS": "debug_api_calls",
    "DEBUG_WEBSOCKET": "debug_websocket",
    "RATE_LIMIT_BACKOFF": "rate_limit_backoff",
    "INITIAL_RETRY_DELAY": "initial_retry_delay_s",
}
_PLACES = {"PERPCTL_STATE_DIR", "PERPCTL_CONFIG_DIR", "PERPCTL_SYSTEM_CONFIG", "PERPCTL_PROFILE", "PERPCTL_TRACEBACK"}


def known_variables() -> dict[str, str]:
    """The variables of this process that settings are made from."""
    ours = (name for name in os.environ if name.startswith("PERPCTL_") and name not in _PLACES)
    return {name: os.environ[name] for name in (*ours, *(RUNBOOK_VARIABLES.keys() & os.environ.keys()))}


def key_of(name: str) -> str:
    """Identifies the files and variables that the settings of profile `name` are made from."""
    made_by = {"": f"{__version__} {sys.prefix} {name} {state_root()}"}
    return snapshot_key([path for path in config_files() if path.exists()], {**known_variables(), **made_by})


def chosen(name: str | None) -> str:
    """The profile meant: the flag, else the variable, else paper."""
    meant = name or os.environ.get("PERPCTL_PROFILE") or PAPER
    if not meant.replace("-", "").replace("_", "").isalnum() or len(meant) > 64:
        raise UsageError(f"{meant!r} is no name of a profile", not_done="nothing was read or sent")
    return meant


def load(name: str | None, venue: str | None = None) -> Profile:
    """The profile meant: a venue chooses between those of paper, and is asserted of any other.

    Raises SettingError (file, line, key) or UsageError (no such profile, or it is at another venue).
    """
    meant = _load(chosen(name))
    if venue in (None, meant.venue):
        return meant
    if meant.profile == PAPER:
        return _load(PAPER_AT[venue])
    raise UsageError(
        f"--venue {venue}, but profile {meant.profile} is at {meant.venue}",
        not_done="nothing was read or sent",
        next_commands=(f"perpctl -p {meant.profile} whoami", f"perpctl --venue {venue} -p {PAPER} whoami"),
    )


def _load(meant: str) -> Profile:
    try:
        snapshot = read_snapshot(state_root() / meant / "snapshot.json")
        if snapshot is not None and snapshot.key == key_of(meant):
            return Profile.from_snapshot(snapshot.settings)
    except StateDamaged:
        pass  # it is only a copy: what it was made from is read again
    from perpctl import settings

    return settings.load(meant)


def meant_to_lower_risk(name: str | None, venue: str | None = None) -> tuple[Profile, ...]:
    """Whose risk an operator in haste means: the profile named, else live money, else paper.

    Of several live profiles those count that have a bot or a lease on this host; when none has, all of them. Of paper
    without a venue, every one that has a bot. Raises UsageError when there is live money, and none of it at that venue.
    """
    if name or os.environ.get("PERPCTL_PROFILE"):
        return (load(name, venue),)
    from perpctl.config_file import live_profiles

    every = tuple(load(one) for one in live_profiles(config_files()))
    live = tuple(one for one in every if venue in (None, one.venue))
    if every and not live:
        return (load(every[0].profile, venue),)
    return tuple(one for one in live if _has_life(one.state_dir)) or live or _paper(venue)


def _paper(venue: str | None) -> tuple[Profile, ...]:
    lively = () if venue else tuple(load(one) for one in BUILT_IN if _has_life(state_root() / one))
    return lively or (load(PAPER, venue),)


def _has_life(state_dir: Path) -> bool:
    try:
        lease = Lease.read(state_dir / "lease")
    except StateDamaged:
        return True
    return (state_dir / "control.sock").exists() or (lease is not None and lease.is_held)
