"""The live view of a seeded bot at a fixed moment: well, in trouble, narrow and frozen, by eye and by golden file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from perpctl import layout
from perpctl.engine import events as e
from perpctl.engine.closing import Ended, Kept, Wish
from perpctl.engine.loop import Bot
from perpctl.engine.screen.diary import Diary
from perpctl.engine.screen.summary import summary
from perpctl.engine.screen.view import Frame, Look, screen
from perpctl.engine.simulation.play import Audience, Script, play
from perpctl.engine.strategy import choose, waiting
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.venue.calendar import Happening, Kind
from perpctl.risk.limits import RiskLevel, level_limits

Golden = Callable[[str, str], None]
FRAME = Frame("paper", "global", "1", "in memory", "synthetic, speed max, seed 7", "conservative")
LIMITS = level_limits(RiskLevel.CONSERVATIVE)
SCRIPT = Script("synthetic", 7, 1800, ("BTC-PERP",), LIMITS, choose("quoter"))


@dataclass
class Onlooker:
    """Looks once, at the first moment that `waits_for` names, after having done `first` to the bot."""

    waits_for: Callable[[Bot], bool]
    look: Look = field(default_factory=Look)
    first: Callable[[Bot], None] = lambda bot: None
    width: int = 110
    seen: str = field(default="", init=False)
    frame: Frame = FRAME
    diary: Diary | None = field(default=None, init=False)

    def __call__(self, bot: Bot) -> bool:
        if self.diary is None:
            self.diary = Diary(bot.core, bot.gear.clock)
            bot.watchers.append(self.diary.watch)
        if not self.seen and self.waits_for(bot):
            self.first(bot)
            self.seen = layout.page(
                screen(bot, self.diary, self.frame, self.look), layout.Paper(self.width, False, False), 0.0
            )
        return bool(self.seen)


def what_is_seen(onlooker: Onlooker, directory: Path, venue: str = "global") -> str:
    play(replace(SCRIPT, venue=venue), directory, Audience(is_enough=onlooker))
    assert onlooker.seen, "the moment never came"
    return onlooker.seen


def holds_and_quotes(bot: Bot) -> bool:
    (product,) = bot.core.products.values()
    return product.position != 0 and bool(bot.core.orders.entries())


def lose_the_line(bot: Bot) -> None:
    bot.dispatch(port.FeedLost("user.changes", "the socket closed (1006)"))
    bot.enter_mode(Mode.REDUCE_ONLY, "gate", "user channel silent for 5 s", cause="gate")


@pytest.mark.parametrize("width", [110, 80])
def test_a_bot_that_trades(golden: Golden, tmp_path: Path, width: int) -> None:
    seen = what_is_seen(Onlooker(holds_and_quotes, Look(narrow=width < 104), width=width), tmp_path / "run")
    assert "  stop " in seen
    assert max(map(len, seen.splitlines())) <= width
    assert "-0.0" not in seen
    golden(f"live-view-{width}.txt", seen)


def test_a_venue_with_hours_and_contracts_shows_them(golden: Golden, tmp_path: Path) -> None:
    seen = what_is_seen(Onlooker(holds_and_quotes, frame=replace(FRAME, venue="us")), tmp_path / "run", "us")
    assert re.search(r"stop SELL 0\.03 at 82,\d{3} limit 81,\d{3}\n", seen)
    assert "\nSESSION    rolls 17:00 New York in " in seen
    assert " margin" in seen
    assert "shuts in " in seen
    assert "ENDS IN  ID" in seen
    golden("live-view-us.txt", seen)


def holds_back(bot: Bot) -> bool:
    return not bot.core.orders.entries() and any(waiting(one.strategy) for one in bot.core.products.values())


def test_a_quoter_that_has_spent_its_share_of_the_day_says_so(tmp_path: Path) -> None:
    seen = what_is_seen(Onlooker(holds_back), tmp_path / "run")
    assert re.search(r"WORKING    no entries: \d+ sent, \d+ due by now \(500 orders a day, 300 of them quotes", seen)


def test_a_bot_that_lost_its_line_says_what_is_not_known(golden: Golden, tmp_path: Path) -> None:
    seen = what_is_seen(Onlooker(holds_and_quotes, first=lose_the_line), tmp_path / "run")
    assert "mode REDUCE_ONLY since " in seen
    assert "UNKNOWN" in seen, "entries of a lost line are unknown until they are read"
    golden("live-view-trouble.txt", seen)


def announce_a_release(bot: Bot) -> None:
    at_ms = bot.core.market_ms
    stop = Happening("release", Kind.STOP, "announced: Release", at_ms + 540_000, at_ms + 2_340_000, announced=True)
    bot.dispatch(e.VenueRead(port.VenueStatus("false", None, (), 0, 1, planned=(stop,)), at_ms))


def test_a_stop_of_the_venue_says_why_entries_are_off_and_until_when(golden: Golden, tmp_path: Path) -> None:
    seen = what_is_seen(Onlooker(holds_and_quotes, first=announce_a_release), tmp_path / "run")
    assert "ENTRIES OFF  release (no new entries), until " in seen
    golden("live-view-hours.txt", seen)


def test_a_picture_that_stands_still_says_so(tmp_path: Path) -> None:
    seen = what_is_seen(Onlooker(holds_and_quotes, Look(frozen=True)), tmp_path / "run")
    assert "FROZEN: this picture stands still, the bot does not" in seen


def test_the_fills_panel_shows_fills_alone(golden: Golden, tmp_path: Path) -> None:
    seen = what_is_seen(Onlooker(holds_and_quotes, Look(panel="fills")), tmp_path / "run")
    panel = seen[seen.index("FILLS") :]
    assert "FILL " in panel
    assert "PLACE" not in panel


@pytest.mark.parametrize("kill", [None, "K-20261130-133124"])
def test_a_bot_that_a_kill_fenced_leaves_the_last_word_on_the_position_to_it(tmp_path: Path, kill: str | None) -> None:
    said = list[str]()

    def ends(bot: Bot) -> None:
        (product,) = bot.core.products.values()
        ended = Ended(0.1, 60.0, Wish(), None, (Kept(product, None),), 1, None, 0, 0, kill)
        said.append(
            layout.page(summary(bot, ended, replace(FRAME, profile="desk-us")), layout.Paper(110, False, False), 0.0)
        )

    what_is_seen(Onlooker(holds_and_quotes, first=ends), tmp_path)
    assert ("STAYS OPEN" in said[0]) is (kill is None)
    assert ("watched   by nobody" in said[0]) is (kill is None)
    assert ("perpctl kill -p desk-us --status" in said[0]) is (kill is not None)
    assert ("perpctl -p desk-us positions close BTC-PERP" in said[0]) is (kill is None)
