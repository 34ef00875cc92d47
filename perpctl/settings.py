"""The schema of the settings: layers of files and variables become one validated profile, or a placed error."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from perpctl import config_file
from perpctl.config_file import Layer
from perpctl.errors import SettingError, UsageError
from perpctl.profile import (
    RUNBOOK_VARIABLES,
    Endpoints,
    Pin,
    Profile,
    config_files,
    key_of,
    known_variables,
    state_root,
)
from perpctl.store.snapshot import (
    BUILT_IN,
    KILL_FOREGROUND_S,
    KILL_HOLDS_LEAST_S,
    PAPER,
    PAPER_AT,
    Snapshot,
    write_snapshot,
)

# The runbook's variables that change nothing here, each with the reason; `config validate` says so.
WITHOUT_EFFECT = {
    "CONNECTION_POOL_SIZE": "one connection carries each session's calls",
    "CONNECTION_TIMEOUT": "every call has a total deadline by its class",
    "ENABLE_BATCH_REQUESTS": "the gateway takes no batches",
    "BATCH_SIZE": "the gateway takes no batches",
    "BATCH_TIMEOUT_MS": "the gateway takes no batches",
    "ORDER_CACHE_SIZE": "orders are read from the journal and the venue, never from a cache",
    "PRICE_CACHE_TTL": "a price carries its age instead",
    "PYTHONGC": "Python does not know this variable",
}
_OF_THE_PROFILE_ALONE = {"env", "venue", "account", "endpoints", "exchange_command"}
_CREDENTIALS = {"key_file", "key_name", "backup_key_file", "kill_key_file"}
_LISTS = {"currencies", "symbols", "extra_latches", "foreign_products", "isolated_products"}
_UNITS = {"usd", "pct", "bp", "s", "ms", "min", "equity", "port"}


class _Account(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str
    username: str | None = None


class _Endpoints(BaseModel):
    model_config = ConfigDict(extra="forbid")
    http: str = Field(pattern=r"^https?://")
    ws: str = Field(pattern=r"^wss?://")
    streams: str = Field(pattern=r"^wss?://")


class _Kill(BaseModel):
    model_config = ConfigDict(extra="forbid")
    foreground_s: float | None = Field(default=None, ge=1, le=3600)  # None: as the venue needs it
    hold_s: float = Field(default=15, ge=0, le=3600)
    hold_unproven_s: float = Field(default=60, ge=0, le=3600)


class Settings(BaseSettings):
    """Every setting of a profile; `config show` prints them with their origin."""

    model_config = SettingsConfigDict(extra="forbid")

    env: Literal["paper", "live"] = "live"
    venue: Literal["global", "us"] = "global"
    endpoints: _Endpoints | None = None
    exchange_command: tuple[str, ...] | None = None
    key_file: Path | None = None
    key_name: str | None = None
    backup_key_file: Path | None = None
    kill_key_file: Path | None = None
    ca_file: Path | None = None
    account: _Account | None = None
    kill_scope: Literal["account", "ours"] | None = None
    kill: _Kill = _Kill()
    currencies: tuple[str, ...] = ("USDC",)
    symbols: tuple[str, ...] = ("BTC-PERP",)
    risk_level: Literal["conservative", "moderate", "aggressive"] | None = None
    limits: dict[str, str | int | Decimal] = Field(default_factory=dict)
    foreign: Literal["count", "halt", "ignore"] = "count"
    foreign_products: tuple[str, ...] = ()
    isolated_products: tuple[str, ...] = ()
    unattended_kill: bool = False
    trading_disabled_file: Path = Path("/tmp/TRADING_DISABLED")  # noqa: S108  the runbook's own path
    extra_latches: tuple[Path, ...] = ()
    bot_unit: str | None = None
    local_api_port: int = Field(default=8080, ge=1, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    debug_api_calls: bool = False
    debug_websocket: bool = False
    rate_limit_backoff: Literal["exponential"] = "exponential"
    initial_retry_delay_s: float | None = Field(default=None, gt=0, le=30)

    @field_validator("log_level", "rate_limit_backoff", mode="before")
    @classmethod
    def _either_case(cls, value: object, about: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        return value.upper() if about.field_name == "log_level" else value.lower()


class _Source(PydanticBaseSettingsSource):
    """One layer, as pydantic-settings takes it."""

    def __init__(self, settings_cls: type[BaseSettings], values: Mapping[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = dict(values)

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


@dataclass(frozen=True, slots=True)
class Loaded:
    """A profile and where each value that is not a default came from."""

    profile: Profile
    origins: Mapping[str, str]


def load(name: str) -> Profile:
    """Read, validate and snapshot a profile. Raises SettingError or UsageError."""
    loaded = validate(name)
    snapshot = Snapshot(key_of(name), time.time_ns() // 1_000_000, loaded.profile.to_snapshot())
    write_snapshot(loaded.profile.state_dir / "snapshot.json", snapshot)
    return loaded.profile


def validate(name: str) -> Loaded:
    """Read and validate a profile; writes nothing. Raises SettingError (file, line, key) or UsageError."""
    found = [layer for path in config_files() for layer in _of_file(path, name)]
    if name not in BUILT_IN and not any(layer.own for layer in found):
        raise _no_profile(name)
    kind = _Kind.of(name, found)
    found = [kind.layer, *found, _variables(kind.live)]
    origins = {key: origin for layer in found for key, origin in layer.origins.items()}
    _known(found)
    settings = _validated(found, origins)
    _limits(settings, origins)
    _kill(settings, origins)
    _foreign(settings, origins)
    return Loaded(_profile(name, settings), origins)


@dataclass(frozen=True, slots=True)
class _Kind:
    live: bool
    layer: Layer

    @classmethod
    def of(cls, name: str, found: list[Layer]) -> _Kind:
        """Paper is built in; any other profile is live unless its own table says paper."""
        said = {key: value for layer in found for key, value in layer.values.items() if key in ("env", "venue")}
        if name not in BUILT_IN:
            return cls(said.get("env") != "paper", Layer({}, {}))
        fixed = {"env": "paper"} if name == PAPER else {"env": "paper", "venue": BUILT_IN[name]}
        for key, value in fixed.items():
            if said.get(key, value) != value:
                raise _broken(f"the profile `{name}` is built in and stays {value}", "give the other a name of its own")
        built_in = {**fixed, "risk_level": "conservative"}
        return cls(False, Layer(built_in, dict.fromkeys(built_in, "built in")))


def _of_file(path: Path, name: str) -> list[Layer]:
    """What one file says to a profile; those of paper at one venue take what it says to `paper`, but for the venue."""
    found = list(config_file.layers(path, name))
    if name in PAPER_AT.values():
        shared = [layer.without(_OF_THE_PROFILE_ALONE) for layer in config_file.layers(path, PAPER) if layer.own]
        found = sorted([*shared, *found], key=lambda layer: layer.own)
    for layer in found:
        for key in (_OF_THE_PROFILE_ALONE | _CREDENTIALS) & layer.values.keys():
            if not layer.own:
                raise _broken(f"{layer.origins[key]}: {key} belongs to one profile", f"move it under [profiles.{name}]")
    return found


def _variables(live: bool) -> Layer:
    """What the environment says; keys of an exchange are for live money only, paper never reads them."""
    values, origins = {}, {}
    for variable, text in known_variables().items():
        key = RUNBOOK_VARIABLES.get(variable) or variable.removeprefix("PERPCTL_").lower()
        if key in _OF_THE_PROFILE_ALONE or (key in _CREDENTIALS and variable not in RUNBOOK_VARIABLES):
            raise _broken(f"{variable}: {key} is set in the profile's own table, not by a variable")
        if key in _CREDENTIALS and not live:
            continue
        listed = key in _LISTS
        values[key] = text.split(",") if listed else text
        origins[key] = f"${variable}"
    return Layer(values, origins)


def _known(found: list[Layer]) -> None:
    for layer in found:
        for key in layer.values:
            if key not in Settings.model_fields:
                raise _unknown_key(key, layer.origins[key])


def _unknown_key(key: str, origin: str) -> SettingError:
    stem, _, unit = key.rpartition("_")
    same_stem = [name for name in Settings.model_fields if unit in _UNITS and name.startswith(f"{stem}_")]
    near = same_stem or get_close_matches(key, Settings.model_fields, n=1)
    if re.search(r"_(usd|pct|bp|equity|s|min)$", key) and not near:
        return _broken(f"{origin}: {key} is no setting", "limits stand in a table of their own: [profiles.NAME.limits]")
    return _broken(f"{origin}: {key} is no setting", f"did you mean {near[0]}?" if near else "")


def _validated(found: list[Layer], origins: Mapping[str, str]) -> Settings:
    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(_Source(settings_cls, layer.values) for layer in reversed(found))

    try:
        return Layered()
    except ValidationError as wrong:
        first = min(wrong.errors(), key=lambda one: one["type"] != "extra_forbidden")
        path = ".".join(str(part) for part in first["loc"][:2])
        place = origins.get(path) or origins.get(str(first["loc"][0]), "settings")
        raise _broken(f"{place}: {path} = {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def _limits(settings: Settings, origins: Mapping[str, str]) -> None:
    if not settings.limits:
        return
    from perpctl.risk.limits import Limits, with_overrides

    for key, value in settings.limits.items():
        with_overrides(Limits(), {key: value}, origins.get(f"limits.{key}", "settings"))


def _kill(settings: Settings, origins: Mapping[str, str]) -> None:
    """With live money a kill holds out at least as long as its proof needs; play money may be in a hurry."""
    for key, least in KILL_HOLDS_LEAST_S.items() if settings.env == "live" else ():
        if (held := getattr(settings.kill, key)) < least:
            place = origins.get(f"kill.{key}") or origins.get("kill", "settings")
            raise _broken(f"{place}: kill.{key} = {held:g} s is too short with live money", f"at least {least:g} s")


def _foreign(settings: Settings, origins: Mapping[str, str]) -> None:
    """What is ignored is named, and is nothing that we trade: one net position has no owner."""
    place = origins.get("foreign_products") or origins.get("foreign", "settings")
    if settings.foreign == "ignore" and not settings.foreign_products:
        raise _broken(f'{place}: foreign = "ignore" needs foreign_products, the list of what others trade')
    if settings.foreign != "ignore" and settings.foreign_products:
        raise _broken(f'{place}: foreign_products goes with foreign = "ignore"')
    if both := sorted(set(settings.foreign_products) & set(settings.symbols)):
        raise _broken(f"{place}: {', '.join(both)} is traded by this profile and cannot be ignored")


def _profile(name: str, settings: Settings) -> Profile:
    state_dir = state_root() / name
    starts_own = settings.env == "paper" and settings.endpoints is None
    values = {key: getattr(settings, key) for key in Settings.model_fields}
    for key, value in values.items():
        if isinstance(value, Path):
            values[key] = value.expanduser().absolute()
    values |= {
        "endpoints": settings.endpoints and Endpoints(**settings.endpoints.model_dump()),
        "kill": {"foreground_s": KILL_FOREGROUND_S[settings.venue], **settings.kill.model_dump(exclude_none=True)},
        "account": settings.account and Pin(**settings.account.model_dump()),
        "limits": {key: str(value) for key, value in settings.limits.items()},
    }
    if starts_own:
        values["endpoints_file"] = state_dir / "exchange" / "server.json"
        values["exchange_command"] = settings.exchange_command or _own_exchange(state_dir / "exchange")
    return Profile(profile=name, state_dir=state_dir, **values)


def _own_exchange(directory: Path) -> tuple[str, ...]:
    server = (sys.executable, "-m", "perpctl.paper.server", "--port", "0")
    return (*server, "--state-dir", str(directory), "--idle-exit", "60")


def _no_profile(name: str) -> UsageError:
    names = list(dict.fromkeys([*BUILT_IN, *config_file.profiles(config_files())]))
    near = get_close_matches(name, names, n=1) or names
    return UsageError(
        f"there is no profile {name}; there is {', '.join(names)}",
        not_done="nothing was read or sent",
        next_commands=(
            f"perpctl -p {near[0]} whoami",
            f"perpctl config init {name} --key-file FILE --kill-scope account",
        ),
    )


def _broken(message: str, hint: str = "") -> SettingError:
    return SettingError(
        f"{message}; {hint}" if hint else message,
        not_done="the settings were not taken; nothing was sent",
        next_commands=("perpctl config validate", "perpctl config show --origin"),
    )
