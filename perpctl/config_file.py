"""This file reads the TOML files that settings come from, and knows on which line a key stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpctl.errors import SettingError


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one source; `origins` names the source of each key, with its line; `own`: of this profile alone."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    own: bool = False

    def without(self, keys: Iterable[str]) -> Layer:
        """The same, as if `keys` were not set."""
        return Layer({key: value for key, value in self.values.items() if key not in keys}, self.origins, self.own)


def read(path: Path) -> dict[str, Any]:
    """The file's content; empty when there is none. Raises SettingError naming file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as why:
        raise _broken(f"{path}: {why.strerror}") from why
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
        raise _broken(f"{path}: not valid TOML: {why}") from why


def layers(path: Path, profile: str) -> tuple[Layer, ...]:
    """What a file says to every profile, and then what it says to this one."""
    content = read(path)
    profiles = content.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
        raise _broken(f"{path}: `profiles` holds one table for each profile: [profiles.{profile}]")
    text = path.read_text(encoding="utf-8") if content or profile in profiles else ""
    found = [_layer(path, text, "", content)] if content else []
    if profile in profiles:
        found.append(_layer(path, text, f"profiles.{profile}", profiles[profile]))
    return tuple(found)


def profiles(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Every profile that the files name, with the later file's words over the earlier's."""
    merged: dict[str, dict[str, Any]] = {}
    for path in paths:
        for name, values in read(path).get("profiles", {}).items():
            merged.setdefault(name, {}).update(values)
    return merged


def live_profiles(paths: Iterable[Path]) -> tuple[str, ...]:
    """The profiles that stand for live money."""
    return tuple(name for name, values in profiles(paths).items() if values.get("env", "live") == "live")


def line_of(text: str, section: str, key: str) -> int | None:
    """The line on which `key` of `section` is set, from 1; None when it cannot be told."""
    at = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            at = header[1].strip().replace('"', "")
            if at == (f"{section}.{key}" if section else key):
                return number
        elif at == section and re.match(rf'\s*"?{re.escape(key)}"?\s*[.=]', line):
            return number
    return None


def _layer(path: Path, text: str, section: str, values: Mapping[str, Any]) -> Layer:
    origins = {key: _place(path, text, section, key) for key in values}
    for key, value in values.items():
        if isinstance(value, dict):
            inside = f"{section}.{key}" if section else key
            lines = {one: line_of(text, inside, one) for one in value}
            origins |= {f"{key}.{one}": f"{path}:{line}" if line else origins[key] for one, line in lines.items()}
    return Layer(values, origins, own=bool(section))


def _place(path: Path, text: str, section: str, key: str) -> str:
    line = line_of(text, section, key)
    return f"{path}:{line}" if line else str(path)


def _broken(message: str) -> SettingError:
    return SettingError(message, not_done="no setting was read; nothing was sent")
