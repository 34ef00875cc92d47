"""What the settings are, where each came from, and whether they are enough to trade on. Asks no venue."""

from __future__ import annotations

import os
from collections.abc import Iterator

from perpctl import config_file
from perpctl.desk import Desk
from perpctl.errors import CredentialError, ExitCode, PerpctlError
from perpctl.profile import Profile, config_files
from perpctl.results import Answer, Column, Json, Line, Next, Row, Table, Tone
from perpctl.settings import WITHOUT_EFFECT, validate
from perpctl.store.snapshot import PAPER

_TONES = {"PASS": Tone.GOOD, "WARN": Tone.WARN, "FAIL": Tone.BAD}
_INNER = ("profile", "state_dir", "endpoints_file")


async def shown(desk: Desk, origin: bool) -> Answer:
    """Every setting in force, each with the flag, variable, file and line, or default that it came from."""
    loaded = validate(desk.settings.profile)
    facts: list[Json] = []
    rows: list[Row] = []
    for key, value in _settings(loaded.profile):
        came_from = loaded.origins.get(key, "default")
        facts.append({"key": key, "value": value, "origin": came_from})
        rows.append(Row({"key": key, "value": _value(value), "origin": came_from}))
    columns = (Column("key", "SETTING"), Column("value", "VALUE", wraps=True))
    table = Table(columns + ((Column("origin", "ORIGIN"),) if origin else ()), tuple(rows))
    return Answer("perpctl.config/1", desk.known_scope(), {"settings": facts}, (table,), records="settings")


async def validated(desk: Desk, *, every: bool) -> Answer:
    """Whether the settings of the desk's profile, or of every one, hold; exit 2 when they do not."""
    names = [desk.settings.profile] if not every else [PAPER, *config_file.profiles(config_files())]
    found = [(name, *one) for name in dict.fromkeys(names) for one in _findings(name)]
    found += [("", "WARN", variable, f"has no effect: {why}") for variable, why in _ignored()]
    rows = tuple(Row({"result": r, "profile": p, "what": w, "evidence": e}, tone=_TONES[r]) for p, r, w, e in found)
    columns = (Column("result", "RESULT"), Column("profile", "PROFILE"), Column("what", "WHAT"))
    table = Table((*columns, Column("evidence", "EVIDENCE")), rows)
    facts: list[Json] = [{"profile": p, "result": r, "what": w, "evidence": e} for p, r, w, e in found]
    holds = not any(result == "FAIL" for _, result, _, _ in found)
    end = Line("settings hold" if holds else "settings do NOT hold; a live profile that fails may not trade")
    code = ExitCode.OK if holds else ExitCode.USAGE
    view = (table, end, Next(() if holds else ("perpctl config show --origin",)))
    return Answer("perpctl.config-check/1", desk.known_scope(), {"checks": facts}, view, code, records="checks")


def _settings(profile: Profile) -> Iterator[tuple[str, Json]]:
    for key, value in profile.to_snapshot().items():
        if key == "limits":
            yield from ((f"limits.{row}", number) for row, number in profile.limits.items())
        elif key not in _INNER:
            yield key, value


def _value(value: Json) -> str:
    if isinstance(value, list | tuple):
        return " ".join(str(one) for one in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {one:g}" if isinstance(one, float) else f"{key} {one}" for key, one in value.items())
    return "not set" if value is None else str(value)


def _ignored() -> list[tuple[str, str]]:
    return [(variable, why) for variable, why in WITHOUT_EFFECT.items() if variable in os.environ]


def _findings(name: str) -> Iterator[tuple[str, str, str]]:
    try:
        loaded = validate(name)
    except PerpctlError as error:
        yield "FAIL", "settings", error.message
        return
    profile = loaded.profile
    yield "PASS", "settings", f"{len(loaded.origins)} set, the others at their defaults"
    yield from _limits(profile)
    if profile.env == "live":
        yield from _live(profile)


def _limits(profile: Profile) -> Iterator[tuple[str, str, str]]:
    from perpctl.risk.limits import Limits, RiskLevel, level_limits, with_overrides

    base = level_limits(RiskLevel(profile.risk_level)) if profile.risk_level else Limits()
    unset = with_overrides(base, profile.limits).unset
    if not unset:
        yield "PASS", "limits", f"{profile.risk_level or 'no level'}, {len(profile.limits)} by hand; none unset"
    elif profile.env == "live":
        yield "FAIL", "limits", f"risk_level is not set, and so not {', '.join(unset[:3])} and {len(unset) - 3} more"
    else:
        yield "PASS", "limits", "given at start by --risk-level"


def _live(profile: Profile) -> Iterator[tuple[str, str, str]]:
    pin = profile.account
    yield ("PASS", "account", f"pinned to {pin.id}") if pin else ("FAIL", "account", "not pinned: perpctl account pin")
    scope = profile.kill_scope
    yield ("PASS", "kill scope", scope) if scope else ("FAIL", "kill scope", "kill_scope is not set")
    for what in ("key_file", "kill_key_file", "backup_key_file"):
        yield _key(what, getattr(profile, what), profile.key_name if what == "key_file" else None)


def _key(what: str, path: object, named: str | None) -> tuple[str, str, str]:
    from pathlib import Path

    from perpctl.exchange.keys import read_key

    if not isinstance(path, Path):
        return ("FAIL" if what == "key_file" else "WARN"), what, "not set"
    try:
        key = read_key(path, named)
    except CredentialError as error:
        return "FAIL", what, error.message
    return "PASS", what, f"{key.algorithm} {key.short_id}"
