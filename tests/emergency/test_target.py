"""A kill finds live money first, from the last good settings, and latches even what has none."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from perpctl.emergency import kill
from perpctl.emergency import target as room
from perpctl.emergency.dry_run import preview
from perpctl.emergency.target import as_fraction, find_targets, locate
from perpctl.errors import UnknownState, UsageError
from perpctl.store.lease import Lease
from perpctl.store.snapshot import Snapshot, write_snapshot


def profile(root: Path, name: str, env: str = "live", **settings: Any) -> Path:
    given = {"profile": name, "env": env, "venue": "global", **settings}
    write_snapshot(root / name / "snapshot.json", Snapshot("", 1, given))
    return root / name


def names(root: Path, named: str | None = None) -> list[str]:
    return [found.profile for found in find_targets(named, root)]


def test_paper_is_meant_only_when_named_or_when_nothing_is_live(tmp_path: Path) -> None:
    assert names(tmp_path) == ["paper"]
    profile(tmp_path, "paper", "paper")
    profile(tmp_path, "desk-a")
    assert names(tmp_path) == ["desk-a"]
    assert names(tmp_path, "paper") == ["paper"]


def test_the_live_profile_that_shows_life_is_meant(tmp_path: Path) -> None:
    profile(tmp_path, "desk-a")
    directory = profile(tmp_path, "desk-b")
    assert names(tmp_path) == ["desk-a", "desk-b"]
    Lease.take(directory / "lease", "quoter-1")
    assert names(tmp_path) == ["desk-b"]


def test_an_unfinished_kill_is_life(tmp_path: Path) -> None:
    profile(tmp_path, "desk-a")
    kills = profile(tmp_path, "desk-b") / "kills"
    kills.mkdir()
    (kills / "K-1.jsonl").write_text('{"event": "started", "pid": 1, "started": 0}\n')
    assert names(tmp_path) == ["desk-b"]


def test_an_unknown_name_is_an_error_that_names_the_others(tmp_path: Path) -> None:
    profile(tmp_path, "desk-a")
    with pytest.raises(UsageError, match=r"'desk-x'.*desk-a"):
        find_targets("desk-x", tmp_path)


def test_a_profile_whose_settings_are_lost_can_still_be_latched(tmp_path: Path) -> None:
    (tmp_path / "desk-a").mkdir()
    (tmp_path / "desk-a" / "latch").touch()
    (tmp_path / "desk-a" / "snapshot.json").write_text("half")
    found = find_targets("desk-a", tmp_path)[0]
    assert (found.env, found.latches) == ("live", (tmp_path / "desk-a" / "latch",))


def test_settings_become_a_target(tmp_path: Path) -> None:
    profile(
        tmp_path,
        "desk-a",
        state_dir=str(tmp_path / "var"),
        extra_latches=[str(tmp_path / "home" / "latch")],
        kill_key_file="/k/kill.json",
        key_file="/k/bot.json",
        account={"id": "104821", "username": "desk"},
        kill_scope="ours",
    )
    found = find_targets("desk-a", tmp_path)[0]
    assert found.http == room.GLOBAL_HTTP
    assert found.latches == (tmp_path / "var" / "latch", tmp_path / "home" / "latch")
    assert [str(path) for path in found.key_files] == ["/k/kill.json", "/k/bot.json"]
    assert (found.pin, found.scope) == (room.Pin("104821", "desk"), "ours")
    assert found.timing == room.Timing(120.0, 15.0, 60.0)


def test_the_us_venue_has_its_own_address_and_takes_longer(tmp_path: Path) -> None:
    profile(tmp_path, "desk-us", venue="us", kill={"hold_s": 20})
    found = find_targets("desk-us", tmp_path)[0]
    assert found.http == room.US_HTTP
    assert found.timing == room.Timing(180.0, 20.0, 60.0)


def test_places_are_those_of_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PERPCTL_STATE_DIR", "PERPCTL_CONFIG_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(variable, raising=False)
    assert room.state_root() == platformdirs.user_state_path("perpctl")
    assert room.config_dir() == platformdirs.user_config_path("perpctl")


def test_an_exchange_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('the directory is damaged')"]
    profile(tmp_path, "paper", "paper", endpoints_file=str(tmp_path / "server.json"), exchange_command=command)
    with pytest.raises(UnknownState, match="the directory is damaged"):
        locate(find_targets("paper", tmp_path)[0])


def test_nothing_is_sent_for_a_venue_that_kill_cannot_speak_to(tmp_path: Path) -> None:
    profile(tmp_path, "desk-x", venue="elsewhere")
    (found,) = find_targets("desk-x", tmp_path)
    for words in (["--dry-run"], ["--dry-run", "-o", "json"]):
        wished = kill.parser().parse_args(words)
        with pytest.raises(UnknownState, match="cannot speak to venue 'elsewhere' yet"):
            preview.told(found, wished)
    with pytest.raises(UnknownState, match="by hand"):
        locate(found)


def test_a_server_file_of_a_dead_process_is_not_believed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    server = tmp_path / "server.json"
    server.write_text(f'{{"pid": {dead.pid}, "gateway_http": "http://127.0.0.1:9/api/v2"}}')
    profile(tmp_path, "paper", "paper", endpoints_file=str(server))
    with pytest.raises(UnknownState, match="names no living exchange"):
        locate(find_targets("paper", tmp_path)[0])


@pytest.mark.parametrize(("text", "fraction"), [("0.30%", "0.003"), (" 1 % ", "0.01"), ("0.003", "0.003")])
def test_slippage_is_a_share_of_the_price(text: str, fraction: str) -> None:
    assert as_fraction(text) == Decimal(fraction)


@pytest.mark.parametrize("text", ["", "x", "0", "-1%", "60%", "0.5", "nan", "1e-99999"])
def test_any_other_slippage_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        as_fraction(text)


def test_a_snapshot_cannot_shorten_the_hold_of_live_money(tmp_path: Path) -> None:
    hurried = {"hold_s": 1, "hold_unproven_s": 2, "foreground_s": 6}
    profile(tmp_path, "desk-a", kill=hurried)
    profile(tmp_path, "play", "paper", kill=hurried)
    live, play = find_targets("desk-a", tmp_path)[0].timing, find_targets("play", tmp_path)[0].timing
    assert (live.hold, live.hold_unproven, live.foreground) == (15, 60, 6)
    assert (play.hold, play.hold_unproven) == (1, 2)
