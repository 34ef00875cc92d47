"""`--venue`: it chooses between the profiles of paper, whose state is kept apart, and is asserted of any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.emergency.target import Target, find_targets
from perpctl.errors import SettingError, UsageError
from perpctl.model.mode import Mode
from perpctl.store.latch import Latch
from perpctl.store.lease import Lease
from tests.conftest import VENUES, Cli
from tests.house.tree import Verb, verbs

LIVE = """[profiles.{name}]
env = "live"
venue = "{venue}"
key_file = "/k/bot.json"
risk_level = "conservative"
kill_scope = "account"
"""


def configured(text: str) -> None:
    file = profile.config_dir() / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def live(**venues: str) -> None:
    """Live profiles by name, each validated once, as kill knows them."""
    configured("\n".join(LIVE.format(name=name, venue=venue) for name, venue in venues.items()))
    for name in venues:
        profile.load(name)


def killed(named: str | None = None, venue: str | None = None) -> list[str]:
    found: tuple[Target, ...] = find_targets(named, profile.state_root(), venue)
    return [one.profile for one in found]


def lowered(named: str | None = None, venue: str | None = None) -> list[str]:
    return [one.profile for one in profile.meant_to_lower_risk(named, venue)]


@pytest.mark.parametrize("verb", list(verbs()), ids=str)
def test_every_command_takes_it(verb: Verb) -> None:
    taken = verb.options["--venue"]
    assert set(taken.type.choices) == set(VENUES)


@pytest.mark.parametrize("word", ["positions", "reduce-only", "run", "kill"])
def test_a_venue_that_there_is_not_is_a_usage_error(word: str, cli: Cli) -> None:
    assert cli("--venue", "mars", word).code == 2
    assert cli(word, "--venue=mars").code == 2


def test_each_venue_of_paper_has_its_own_state_and_every_command_agrees_which() -> None:
    home, there = profile.load(None), profile.load(None, "us")
    assert (home.profile, home.venue) == ("paper", "global")
    assert (there.profile, there.venue) == ("paper-us", "us")
    assert not {home.state_dir, home.endpoints_file} & {there.state_dir, there.endpoints_file}
    assert profile.load("paper", "us") == profile.load("paper-us") == profile.load("paper-us", "us") == there
    assert profile.load(None, "global") == home
    for venue, name in (("global", "paper"), ("us", "paper-us")):
        assert killed(venue=venue) == killed("paper", venue) == lowered(venue=venue) == [name]


def test_paper_that_is_configured_at_a_venue_is_the_paper_of_that_venue() -> None:
    configured('[profiles.paper]\nvenue = "us"\n')
    assert profile.load(None, "us") == profile.load("paper") == profile.load("paper", "us")
    assert (profile.load("paper").venue, profile.load(None, "global").profile) == ("us", "paper-global")
    assert killed(venue="us") == killed("paper") == lowered(venue="us") == ["paper"]
    assert killed(venue="global") == lowered(venue="global") == ["paper-global"]


def test_what_is_set_for_paper_holds_at_both_venues_but_for_the_venue_itself() -> None:
    here = (
        '[profiles.paper.endpoints]\nhttp = "http://127.0.0.1:9"\nws = "ws://127.0.0.1:9"\nstreams = "ws://127.0.0.1:9"'
    )
    own = "[profiles.paper-us.limits]\nmax_orders_day = 9\n"
    configured(f'[profiles.paper]\nrisk_level = "moderate"\nlimits.max_orders_day = 5\n{here}\n{own}')
    there = profile.load(None, "us")
    assert (there.risk_level, there.limits, there.endpoints) == ("moderate", {"max_orders_day": "9"}, None)
    assert profile.load("paper").limits == {"max_orders_day": "5"}


def test_a_built_in_profile_of_one_venue_stays_there() -> None:
    configured('[profiles.paper-us]\nvenue = "global"\n')
    with pytest.raises(SettingError, match="`paper-us` is built in and stays us"):
        profile.load("paper-us")


def test_nothing_of_one_venue_is_latched_by_a_command_at_the_other(paper: dict[str, Any], cli: Cli) -> None:
    there = profile.load("paper-us")
    assert there.endpoints_file is not None
    there.endpoints_file.parent.mkdir(parents=True)
    there.endpoints_file.write_text(json.dumps(paper))
    ran = cli("reduce-only", "--venue", "us", "--yes", "--reason", "drill", "-o", "json")
    assert (ran.code, ran.json["venue"], ran.json["profile"]) == (0, "us", "paper-us")
    assert Latch(there.state_dir / "latch").read().mode is Mode.REDUCE_ONLY
    assert not (profile.load("paper").state_dir / "latch").exists()
    assert "mode REDUCE_ONLY" in cli("--venue", "us", "positions").out
    assert "mode NORMAL" in cli("positions").out


def test_of_a_live_profile_it_is_asserted(cli: Cli) -> None:
    live(desk="global")
    assert profile.load("desk", "global").profile == "desk"
    for words in (["positions"], ["cancel-all"], ["run"], ["paper", "serve"], ["kill", "--force"]):
        ran = cli(*words, "-p", "desk", "--venue", "us")
        assert ran.code == 2, words
        assert "--venue us, but profile desk is at global" in ran.err
        assert "othing was" in ran.err
    assert not (profile.state_root() / "desk" / "latch").exists()


def test_in_haste_it_chooses_among_live_money_and_never_falls_back_to_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    live(desk="global", desk_us="us")
    for found in (killed, lowered):
        assert found() == ["desk", "desk_us"]
        assert found(venue="us") == ["desk_us"]
        assert found("paper", "us") == ["paper-us"]
    live(desk="global")
    (profile.state_root() / "desk_us" / "snapshot.json").unlink()
    for found in (killed, lowered):
        with pytest.raises(UsageError, match="desk is at global"):
            found(venue="us")
    monkeypatch.setenv("PERPCTL_PROFILE", "desk")
    with pytest.raises(UsageError, match="desk is at global"):
        lowered(venue="us")


def test_without_live_money_the_paper_that_has_a_bot_is_meant() -> None:
    directory: Path = profile.load("paper-us").state_dir
    for found in (killed, lowered):
        assert found() == ["paper"]
    Lease.take(directory / "lease", "quoter-1")
    for found in (killed, lowered):
        assert found() == ["paper-us"]
        assert found(venue="global") == ["paper"]
