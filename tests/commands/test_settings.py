"""Settings: where each value comes from, what is refused and where it stands, and the snapshot of hot commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perpctl import config_file, profile, settings
from perpctl.errors import SettingError, UsageError
from perpctl.profile import Endpoints, Pin, Profile
from perpctl.store.lease import Lease
from perpctl.store.snapshot import read_snapshot
from tests.conftest import Cli

LIVE = """
[profiles.desk-a]
env = "live"
venue = "global"
key_file = "~/a.json"
kill_scope = "account"
risk_level = "moderate"

[profiles.desk-a.account]
id = "104821"
username = "ops"

[profiles.desk-a.limits]
max_spread_bp = 3
"""


@pytest.fixture
def user_file(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir()
    path.write_text(LIVE)
    return path


def test_paper_is_built_in_and_the_default(home: Path) -> None:
    loaded = profile.load(None)
    assert (loaded.profile, loaded.env, loaded.venue) == ("paper", "paper", "global")
    assert loaded.endpoints_file == profile.state_root() / "paper" / "exchange" / "server.json"
    assert loaded.exchange_command is not None
    assert loaded.exchange_command[:3] == (sys.executable, "-m", "perpctl.paper.server")
    assert loaded.risk_level == "conservative"


def test_a_live_profile_is_read_from_the_users_file(user_file: Path, home: Path) -> None:
    loaded = profile.load("desk-a")
    assert (loaded.env, loaded.account) == ("live", Pin("104821", "ops"))
    assert loaded.key_file == home / "a.json"
    assert dict(loaded.limits) == {"max_spread_bp": "3"}
    assert loaded.exchange_command is None


def test_a_profile_named_by_the_variable_is_meant(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPCTL_PROFILE", "desk-a")
    assert profile.load(None).profile == "desk-a"
    assert profile.load("paper").profile == "paper"


def test_a_live_profile_is_never_meant_unless_named(user_file: Path) -> None:
    assert profile.load(None).env == "paper"


def test_stronger_sources_win_and_each_value_names_its_own(
    user_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.toml").write_text('log_level = "ERROR"\nlocal_api_port = 8081\nsymbols = ["ETH-PERP"]\n')
    user_file.write_text(f'local_api_port = 8082\n{LIVE}symbols = ["X"]\n'.replace('symbols = ["X"]\n', ""))
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "perpctl.toml").write_text('[profiles.desk-a]\nlocal_api_port = 8083\nbot_unit = "one"\n')
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PERPCTL_BOT_UNIT", "two")
    found = settings.validate("desk-a")
    assert found.profile.local_api_port == 8083
    assert found.profile.bot_unit == "two"
    assert found.profile.symbols == ("ETH-PERP",)
    assert found.origins["local_api_port"] == f"{tmp_path}/work/perpctl.toml:2"
    assert found.origins["bot_unit"] == "$PERPCTL_BOT_UNIT"
    assert found.origins["log_level"] == f"{tmp_path}/system.toml:1"
    assert found.origins["risk_level"].endswith("config.toml:8")
    assert found.origins["limits.max_spread_bp"].endswith("config.toml:15")
    assert "currencies" not in found.origins


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('risk_levle = "moderate"', ("config.toml:3", "risk_levle is no setting", "did you mean risk_level?")),
        ("local_api_port = 70000", ("config.toml:3", "local_api_port = 70000", "less than or equal to 65535")),
        ('risk_level = "brave"', ("config.toml:3", "risk_level = 'brave'", "'conservative'")),
        ("max_spread_bp = 3", ("config.toml:3", "limits stand in a table of their own")),
        ("account = 3", ("config.toml:3", "account = 3")),
        ("[profiles.d.limits]\nmax_spread_pct = 3", ("config.toml:4", "did you mean max_spread_bp?")),
        ('[profiles.d.limits]\nmax_spread_bp = "3 %"', ("config.toml:4", "max_spread_bp", "unit bp")),
        ("[profiles.d.limits]\nmax_margin_used_pct = 0.25", ("config.toml:4", "looks like a fraction", "write 25")),
        ("[profiles.d.account]\nident = 3", ("config.toml:4", "account.ident")),
        ("key_file = nope", ("config.toml", "not valid TOML", "line 3")),
        ('endpoints = { http = "ftp://x", ws = "ws://x", streams = "ws://x" }', ("config.toml:3", "endpoints.http")),
    ],
)
def test_a_broken_setting_names_file_line_and_key(user_file: Path, cli: Cli, line: str, said: tuple[str, ...]) -> None:
    user_file.write_text(f"\n[profiles.d]\n{line}\n")
    ran = cli("-p", "d", "config", "show")
    assert (ran.code, ran.out) == (2, "")
    assert all(part in ran.err for part in said), ran.err


def test_a_key_of_one_profile_cannot_be_set_for_all(user_file: Path) -> None:
    user_file.write_text(f'key_file = "/k"\n{LIVE}')
    with pytest.raises(SettingError, match="belongs to one profile"):
        profile.load("desk-a")


def test_paper_stays_paper(user_file: Path) -> None:
    user_file.write_text('[profiles.paper]\nenv = "live"\n')
    with pytest.raises(SettingError, match="stays paper"):
        profile.load("paper")


def test_a_profile_that_is_not_there_is_a_usage_error_that_names_those_that_are(user_file: Path) -> None:
    with pytest.raises(UsageError, match=r"there is paper, .*desk-a") as wrong:
        profile.load("desk-b")
    assert "perpctl -p desk-a whoami" in wrong.value.next_commands


@pytest.mark.parametrize("name", ["../x", "a/b", "", " ", "a" * 65])
def test_a_profile_cannot_be_called_like_a_path(name: str, cli: Cli) -> None:
    ran = cli("-p", name, "config", "show") if name else cli("-p=", "config", "show")
    assert ran.code == 2


def test_keys_in_the_environment_are_for_live_money_only(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINBASE_CDP_API_KEY", "organizations/o/apiKeys/k")
    monkeypatch.setenv("COINBASE_CDP_PRIVATE_KEY_PATH", "/keys/k.pem")
    live, paper = profile.load("desk-a"), profile.load("paper")
    assert (live.key_name, live.key_file) == ("organizations/o/apiKeys/k", Path("/keys/k.pem"))
    assert (paper.key_name, paper.key_file) == (None, None)


def test_the_runbooks_log_level_works(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("DEBUG_WEBSOCKET", "true")
    loaded = profile.load(None)
    assert (loaded.log_level, loaded.debug_websocket) == ("DEBUG", True)


def test_the_runbooks_retry_words_work_or_are_refused(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("RATE_LIMIT_BACKOFF", "Exponential")
    monkeypatch.setenv("INITIAL_RETRY_DELAY", "1")
    loaded = profile.load(None)
    assert (loaded.rate_limit_backoff, loaded.initial_retry_delay_s) == ("exponential", 1)
    monkeypatch.setenv("RATE_LIMIT_BACKOFF", "linear")
    with pytest.raises(SettingError, match=r"RATE_LIMIT_BACKOFF.*rate_limit_backoff = 'linear'"):
        profile.load(None)
    monkeypatch.setenv("RATE_LIMIT_BACKOFF", "exponential")
    monkeypatch.setenv("INITIAL_RETRY_DELAY", "-1")
    with pytest.raises(SettingError, match="INITIAL_RETRY_DELAY"):
        profile.load(None)


@pytest.mark.parametrize("level", ["debug", "Warning", "ERROR"])
def test_a_log_level_is_read_in_either_case(level: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    assert profile.load(None).log_level == level.upper()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('foreign = "ignore"', "needs foreign_products"),
        ('foreign_products = ["ETH-PERP"]', 'goes with foreign = "ignore"'),
        ('foreign = "ignore"\nforeign_products = ["BTC-PERP"]', "BTC-PERP is traded by this profile"),
        ('foreign = "adopt"', "foreign = 'adopt'"),
    ],
)
def test_what_is_foreign_is_ignored_only_by_name(user_file: Path, rows: str, said: str) -> None:
    user_file.write_text(LIVE.replace('env = "live"', f'env = "live"\n{rows}'))
    with pytest.raises(SettingError, match=said):
        profile.load("desk-a")


def test_an_unattended_kill_is_off_until_it_is_set(user_file: Path) -> None:
    assert profile.load("desk-a").unattended_kill is False
    user_file.write_text(LIVE.replace('env = "live"', 'env = "live"\nunattended_kill = true'))
    assert profile.load("desk-a").unattended_kill is True


def test_a_variable_without_effect_is_named_with_the_reason(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONGC", "100:10:10")
    ran = cli("config", "validate")
    assert ran.code == 0
    assert "PYTHONGC" in ran.out
    assert "Python does not know this variable" in ran.out


def test_an_unknown_variable_of_ours_is_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERPCTL_RISK_LEVLE", "moderate")
    ran = cli("config", "show")
    assert ran.code == 2
    assert "$PERPCTL_RISK_LEVLE" in ran.err
    assert "did you mean risk_level?" in ran.err


# --- the snapshot -----------------------------------------------------------------------------------------------------


def test_what_validated_is_kept_and_reads_back_the_same(user_file: Path) -> None:
    loaded = profile.load("desk-a")
    kept = read_snapshot(profile.state_root() / "desk-a" / "snapshot.json")
    assert kept is not None
    assert kept.key == profile.key_of("desk-a")
    assert Profile.from_snapshot(kept.settings) == loaded


def test_every_member_of_a_profile_survives_the_snapshot(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    venue = (Endpoints("h", "w", "s"), here, ("x", "y"))
    keys = (here, "n", there, here, there, Pin("1", None), "ours", {"hold_s": 1.5})
    trade = (("USDC", "EUR"), ("A", "B"), "moderate", {"a": "1"})
    others: dict[str, Any] = {"foreign": "ignore", "foreign_products": ("E",), "isolated_products": ("F",)}
    bot: dict[str, Any] = {"unattended_kill": True, "initial_retry_delay_s": 0.5, **others}
    full = Profile(
        "p", "live", "us", tmp_path, *venue, *keys, *trade, here, (here, there), "unit", 1, "DEBUG", True, True, **bot
    )
    assert Profile.from_snapshot(full.to_snapshot()) == full


def test_a_changed_file_or_variable_makes_the_snapshot_old(user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert profile.load("desk-a").risk_level == "moderate"
    user_file.write_text(LIVE.replace("moderate", "aggressive"))
    assert profile.load("desk-a").risk_level == "aggressive"
    monkeypatch.setenv("PERPCTL_RISK_LEVEL", "conservative")
    assert profile.load("desk-a").risk_level == "conservative"


def test_settings_that_do_not_validate_leave_the_last_good_snapshot(user_file: Path) -> None:
    profile.load("desk-a")
    path = profile.state_root() / "desk-a" / "snapshot.json"
    good = path.read_bytes()
    user_file.write_text(LIVE.replace("moderate", "brave"))
    with pytest.raises(SettingError):
        profile.load("desk-a")
    assert path.read_bytes() == good


def test_a_damaged_snapshot_is_made_anew(user_file: Path) -> None:
    profile.load("desk-a")
    path = profile.state_root() / "desk-a" / "snapshot.json"
    path.write_text("{")
    assert profile.load("desk-a").risk_level == "moderate"
    assert read_snapshot(path) is not None


def test_the_schema_is_not_imported_while_nothing_has_changed(user_file: Path) -> None:
    look = "import sys; from perpctl import profile; profile.load('desk-a'); print('pydantic' in sys.modules)"
    seen = [subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout for _ in range(2)]
    assert seen == ["True\n", "False\n"]


def test_the_snapshot_holds_no_secret_and_is_read_by_its_owner_only(user_file: Path) -> None:
    profile.load("desk-a")
    assert os.stat(profile.state_root() / "desk-a" / "snapshot.json").st_mode & 0o077 == 0


# --- whose risk is lowered --------------------------------------------------------------------------------------------


def names(found: tuple[Profile, ...]) -> list[str]:
    return [one.profile for one in found]


def test_what_lowers_risk_means_paper_only_when_there_is_no_live_money(home: Path) -> None:
    assert names(profile.meant_to_lower_risk(None)) == ["paper"]


def test_what_lowers_risk_finds_the_only_live_profile(user_file: Path) -> None:
    assert names(profile.meant_to_lower_risk(None)) == ["desk-a"]
    assert names(profile.meant_to_lower_risk("paper")) == ["paper"]


def test_of_several_live_profiles_the_one_with_a_bot_is_meant_and_else_all(user_file: Path) -> None:
    user_file.write_text(LIVE + '[profiles.desk-b]\nkey_file = "/k"\n[profiles.toy]\nenv = "paper"\n')
    assert names(profile.meant_to_lower_risk(None)) == ["desk-a", "desk-b"]
    Lease.take(profile.state_root() / "desk-b" / "lease", "bot")
    assert names(profile.meant_to_lower_risk(None)) == ["desk-b"]


# --- lines ------------------------------------------------------------------------------------------------------------


def test_the_line_of_a_key_is_found_in_its_own_table() -> None:
    text = 'a = 1\n[profiles.x]\na = 2\n[profiles."y"]\n"a" = 3\nb.c = 4\n[profiles.y.limits]\n'
    assert config_file.line_of(text, "", "a") == 1
    assert config_file.line_of(text, "profiles.x", "a") == 3
    assert config_file.line_of(text, "profiles.y", "a") == 5
    assert config_file.line_of(text, "profiles.y", "b") == 6
    assert config_file.line_of(text, "profiles.y", "limits") == 7
    assert config_file.line_of(text, "profiles.x", "b") is None


def test_a_live_profile_cannot_shorten_the_hold_of_a_kill(user_file: Path) -> None:
    user_file.write_text(LIVE + "\n[profiles.desk-a.kill]\nhold_s = 5\n")
    with pytest.raises(SettingError, match=r"config.toml:\d+: kill.hold_s = 5 s is too short with live money"):
        settings.validate("desk-a")


def test_a_paper_profile_may_shorten_it_and_the_snapshot_tells_kill(user_file: Path) -> None:
    user_file.write_text("[profiles.paper.kill]\nhold_s = 1\n")
    loaded = settings.load("paper")
    assert Profile.from_snapshot(loaded.to_snapshot()).kill["hold_s"] == 1
    snapshot = read_snapshot(loaded.state_dir / "snapshot.json")
    assert snapshot is not None
    assert snapshot.settings["kill"] == {"foreground_s": 120, "hold_s": 1, "hold_unproven_s": 60}
