"""`perpctl config`: what is in force and whether it holds, drawn as before and the same in every form."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli

Golden = Callable[[str, str], None]


@pytest.fixture
def drawn(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The screen of a command, without what differs from machine to machine."""
    monkeypatch.delenv("PERPCTL_TRADING_DISABLED_FILE")

    def draw(*words: str) -> str:
        lines = cli(*words).out.replace(str(tmp_path), "/tmp").replace(sys.executable, "python").splitlines()
        shown = [re.sub(r"  +", "  ", line).rstrip() for line in lines]
        start, end = (
            next(at for at, line in enumerate(shown) if line.startswith(word)) for word in ("exchange_", "key_")
        )
        return "\n".join([*shown[:start], "exchange_command  ...", *shown[end:]]) + "\n"

    return draw


def test_settings_and_their_origins_are_drawn_as_before(drawn: Callable[..., str], golden: Golden) -> None:
    golden("config-show-origin.txt", drawn("config", "show", "--origin"))


def test_a_group_without_a_verb_shows_the_settings(drawn: Callable[..., str]) -> None:
    assert drawn("config") == drawn("config", "show")


def test_whether_the_settings_hold_is_drawn_as_before(cli: Cli, golden: Golden) -> None:
    ran = cli("config", "validate")
    assert ran.code == 0
    golden("config-validate.txt", ran.out)


def test_every_form_holds_the_same_settings(cli: Cli) -> None:
    whole: dict[str, Any] = cli("config", "show", "-o", "json").json
    lines = [json.loads(line) for line in cli("config", "show", "-o", "jsonl").out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(cli("config", "show", "-o", "csv").out, newline="")))
    keys = [one["key"] for one in whole["settings"]]
    assert [line["key"] for line in lines] == keys
    assert [row["key"] for row in rows] == keys
    assert next(one["value"] for one in whole["settings"] if one["key"] == "account") is None


@pytest.mark.parametrize(
    ("missing", "said"),
    [('risk_level = "moderate"', "risk_level is not set"), ('kill_scope = "account"', "kill_scope is not set")],
)
def test_what_a_live_profile_lacks_is_named_and_exit_2(cli: Cli, tmp_path: Path, missing: str, said: str) -> None:
    (tmp_path / "config").mkdir()
    whole = '[profiles.d]\nkey_file = "/none"\nrisk_level = "moderate"\nkill_scope = "account"\n'
    (tmp_path / "config" / "config.toml").write_text(whole.replace(missing, ""))
    ran = cli("config", "validate", "-p", "d")
    assert ran.code == 2
    assert said in ran.out
    assert "not pinned" in ran.out
    assert "/none" in ran.out


def test_a_broken_profile_does_not_hide_the_others(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text('[profiles.a]\nnonsense = 1\n[profiles.b]\nrisk_level = "x"\n')
    ran = cli("config", "validate", "-o", "json")
    failed = {one["profile"]: one["evidence"] for one in ran.json["checks"] if one["result"] == "FAIL"}
    assert ran.code == 2
    assert failed["a"].endswith("config.toml:2: nonsense is no setting")
    assert "config.toml:4: risk_level = 'x'" in failed["b"]
