"""Every screen to the last digit, as text and as JSON, from states that never vary; `--update` rewrites `golden/`."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from perpctl import __main__ as front_door
from perpctl import profile
from perpctl.clock import ManualClock
from tests.commands import scenes
from tests.commands.stage import Stage, StillClock
from tests.conftest import START, Cli, Ran, both_venues

SURE = ("--yes", "--reason", "drill")
NARROW = {"positions-bare", "positions-unknown", "preflight", "preflight-may-not-start", "orders-list", "status-warn"}
NARROW |= {"reconcile-differences", "stops-list", "fills-list", "market-status"}
PLACED = {"global": "USDC-SLMS-198150503752", "us": "d0443dee-4053-4ac8-9c4d-0000042c1d87"}
Golden = Callable[[str, str], None]


@dataclass(frozen=True)
class Screen:
    """What is typed in which state, and the exit code that belongs to it."""

    name: str
    scene: scenes.Scene
    line: str
    code: int = 0
    sockets: bool = False  # it listens to sockets
    acts: bool = False  # it changes something: `--yes` and a reason are typed too
    us: int | None = None  # the exit code there, where it is another

    def typed(self, venue: str) -> str:
        """The line, with the venue's own name of the stop that `stops place` places."""
        return self.line.format(stop=PLACED[venue])

    def ends(self, venue: str) -> int:
        """The exit code that belongs to it."""
        return self.code if self.us is None or venue == "global" else self.us


SCREENS = (
    Screen("preflight", scenes.probed, "preflight", sockets=True),
    Screen("preflight-may-not-start", scenes.bare, "preflight", 1, sockets=True),
    Screen("preflight-outage", scenes.unreadable, "preflight", 3, sockets=True),
    Screen("market-status", scenes.flat, "market status BTC-PERP ETH-PERP"),
    Screen("market-list", scenes.flat, "market list"),
    Screen("market-book", scenes.flat, "market book BTC-PERP --depth 5"),
    Screen("health-silent", scenes.flat, "health", 1),
    Screen("ws-test", scenes.flat, "ws test", sockets=True),
    Screen("verify-startup-no-bot", scenes.flat, "verify startup", 1),
    Screen("reduce-only", scenes.working, "reduce-only", acts=True),
    Screen("reduce-only-dry-run", scenes.working, "reduce-only --dry-run"),
    Screen("wait-flat", scenes.flat, "wait flat --timeout 60"),
    Screen("wait-flat-late", scenes.bare, "wait flat --timeout 60", 8),
    Screen("wait-flat-unknown", scenes.unreadable, "wait flat --timeout 60", 3),
    Screen("cancel-all", scenes.working, "cancel-all", acts=True),
    Screen("cancel-all-dry-run", scenes.working, "cancel-all --dry-run"),
    Screen("cancel-all-force", scenes.working, "cancel-all --force", acts=True),
    Screen("cancel-all-stops", scenes.working, "cancel-all --include-stops", acts=True),
    Screen("verify-no-orders", scenes.flat, "verify no-orders"),
    Screen("verify-no-orders-some", scenes.bare, "verify no-orders", 1),
    Screen("positions", scenes.held, "positions"),
    Screen("positions-flat", scenes.flat, "positions"),
    Screen("positions-bare", scenes.bare, "positions"),
    Screen("positions-unknown", scenes.unreadable, "positions", 3),
    Screen("positions-local", scenes.held, "positions --source local"),
    Screen("positions-explain", scenes.held, "positions explain BTC-PERP"),
    Screen("positions-explain-parting", scenes.bare, "positions explain SOL-PERP", 1),
    Screen("positions-close", scenes.held, "positions close BTC-PERP", acts=True),
    Screen("positions-close-dry-run", scenes.held, "positions close BTC-PERP --dry-run"),
    Screen("positions-reduce", scenes.held, "positions reduce BTC-PERP --by 50%", acts=True),
    Screen("positions-close-all", scenes.bare, "positions close-all --market", acts=True, us=6),
    Screen("state-save", scenes.held, "state save", acts=True),
    Screen("auth-test", scenes.flat, "auth test"),
    Screen("auth-expiry", scenes.flat, "auth expiry"),
    Screen("auth-refresh", scenes.flat, "auth refresh"),
    Screen("reconcile", scenes.held, "reconcile"),
    Screen("reconcile-differences", scenes.bare, "reconcile", 1),
    Screen("reconcile-apply", scenes.bare, "reconcile --apply", acts=True),
    Screen("verify-sync", scenes.held, "verify sync"),
    Screen("verify-sync-not", scenes.bare, "verify sync", 1),
    Screen("funding", scenes.held, "funding"),
    Screen("funding-rates", scenes.flat, "funding rates BTC-PERP ETH-PERP"),
    Screen("funding-history", scenes.paid, "funding history --days 7"),
    Screen("funding-schedule", scenes.held, "funding schedule"),
    Screen("disable", scenes.working, "disable", acts=True),
    Screen("resume", scenes.halted, "resume --as ops1", sockets=True, acts=True),
    Screen("resume-refused", scenes.halted_bare, "resume --as ops1", 5, sockets=True, acts=True),
    Screen("resume-dry-run", scenes.halted, "resume --as ops1 --dry-run", sockets=True),
    Screen("resume-dry-run-refused", scenes.halted_bare, "resume --as ops1 --dry-run", 5, sockets=True),
    Screen("orders-list", scenes.working, "orders list"),
    Screen("orders-trace", scenes.protected, "orders trace {stop}"),
    Screen("orders-trace-nobodys", scenes.flat, "orders trace nothing-of-ours", 1),
    Screen("orders-list-absent", scenes.absent, "orders list"),
    Screen("orders-trace-absent", scenes.absent, f"orders trace {scenes.ABSENT}"),
    Screen("status-absent", scenes.absent, "status"),
    Screen("fills-list", scenes.bare, "fills list"),
    Screen("status", scenes.held, "status"),
    Screen("status-warn", scenes.bare, "status", 1),
    Screen("status-unknown", scenes.unreadable, "status", 3),
    Screen("whoami", scenes.flat, "whoami"),
    Screen("whoami-unknown", scenes.unreadable, "whoami", 3),
    Screen("stops-list", scenes.bare, "stops list"),
    Screen("stops-verify", scenes.held, "stops verify"),
    Screen("stops-verify-bare", scenes.bare, "stops verify", 1),
    Screen("stops-place", scenes.bare, "stops place", acts=True),
    Screen("account", scenes.bare, "account"),
    Screen("account-pin", scenes.flat, "account pin", acts=True),
    Screen("paper-status", scenes.bare, "paper status"),
)  # fmt: skip


def drawn(screen: Screen, venue: str, *form: str) -> Ran:
    """The command as a process would run it, on a clock that stands still or moves by its own waiting alone."""
    out, err = io.StringIO(), io.StringIO()
    clock = StillClock(START) if screen.sockets else ManualClock(START)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = front_door.main([*screen.typed(venue).split(), *(SURE if screen.acts else ()), *form], clock)
    assert "Traceback" not in err.getvalue()
    return Ran(int(code), out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Kept:
    """The golden files of one venue. Those of the second are kept only where more differs than the names above."""

    golden: Golden
    directory: Path
    stage: Stage
    update: bool

    def __call__(self, name: str, text: str) -> None:
        if self.stage.venue == "global":
            self.golden(name, text)
            return
        own, first = f"{self.stage.venue}/{name}", self.directory / name
        same = first.exists() and self._renamed(text) == first.read_text()
        if self.update and same:
            (self.directory / own).unlink(missing_ok=True)
        if same:
            assert not (self.directory / own).exists(), f"{own} says what {name} says already"
        else:
            self.golden(own, text)

    def _renamed(self, text: str) -> str:
        """With the names of the first venue, its profile and its account."""
        account = self.stage.card["us_account"]["id"]
        for pattern, name in ((account, "1"), (r"paper-us", "paper"), (r"\bus\b", "global")):
            text = re.sub(pattern, name, text)
        return text


# What differs between two runs of the same thing and says nothing about it. No amount, size, price, age or count.
_VARYING = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "OUR-LABEL"),
    (r'("plan_id": )"[0-9a-f]{12}"', r'\1"PLAN_ID"'),
    (r'("fingerprint": )"[^"]*"', r'\1"FINGERPRINT"'),
    (r"\.\.[0-9a-f]{4}\b", "..KEY"),
    (r"(sha256\W+)[0-9a-f]{64}", r"\1SHA256"),
    (r"\d+ GiB free", "N GiB free"),
    (r'(pid\W+)\d+', r"\1PID"),
    (r"(operator\W+)\w+", r"\1OPERATOR"),
    (r"(--plan )[0-9a-f]{8}", r"\1PLAN"),
)  # fmt: skip


def steady(text: str, stage: Stage) -> str:
    """The text without places, ports, pids, random names, hashes and ends of keys."""
    card = stage.card
    places = {
        card["gateway_http"].removesuffix("/api/v2").removeprefix("http://"): "127.0.0.1:PORT",
        card["key_file"]: "KEY_FILE",
        card["state_dir"]: "EXCHANGE_DIR",
        str(profile.config_dir()): "CONFIG_DIR",
        str(profile.state_root()): "STATE_DIR",
        str(profile.load(None).trading_disabled_file): "TRADING_DISABLED",
        getpass.getuser(): "OPERATOR",
    }
    for place, name in places.items():
        text = text.replace(place, name)
    for pattern, name in _VARYING:
        text = re.sub(pattern, name, text)
    return text


@pytest.fixture
def kept(request: pytest.FixtureRequest, golden: Golden, stage: Stage, update: bool) -> Kept:
    """The golden files of the stage's venue."""
    return Kept(golden, request.path.parent / "golden", stage, update)


@both_venues
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_screen_reads_as_before(
    screen: Screen, stage: Stage, cli: Cli, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text, as JSON with all that the text shows, and folded into eighty columns."""
    monkeypatch.setenv("INITIAL_RETRY_DELAY", "0.0000001")  # a pause of chance would move the clock by chance
    monkeypatch.setenv("PERPCTL_LOCAL_API_PORT", "1")  # where nothing listens
    monkeypatch.setattr(
        sys, "argv", ["perpctl", *screen.typed(stage.venue).split()]
    )  # what the journal keeps of a writer
    screen.scene(stage, cli)
    ran = drawn(screen, stage.venue)
    kept(
        f"{screen.name}.txt",
        steady(f"$ perpctl {screen.typed(stage.venue)}\n{ran.out}{ran.err}exit {ran.code}\n", stage),
    )
    assert ran.code == screen.ends(stage.venue)
    if screen.acts:
        stage.reset()
        shutil.rmtree(profile.load(None).state_dir)
        stage.found()
        screen.scene(stage, cli)
    in_json(screen, stage, kept)
    if not screen.acts:
        monkeypatch.setenv("COLUMNS", "80")
        in_eighty_columns(screen, stage, kept)


def in_json(screen: Screen, stage: Stage, kept: Kept) -> None:
    """The envelope is there, and `error` where the command failed."""
    ran = drawn(screen, stage.venue, "-o", "json")
    found = ran.json
    kept(f"{screen.name}.json", steady(json.dumps(found, indent=2) + "\n", stage))
    assert ran.code == screen.ends(stage.venue)
    assert {"schema", "env", "venue", "profile", "account", "at"} <= found.keys()
    assert (found["env"], found["venue"], found["profile"]) == ("paper", stage.venue, profile.load(None).profile)
    assert ("error" in found) is (ran.code > 1)
    if ran.code > 1:
        assert (found["error"]["code"], bool(found["error"]["message"])) == (ran.code, True)


def in_eighty_columns(screen: Screen, stage: Stage, kept: Kept) -> None:
    """But for what is pasted as a whole: a command, a path, an address."""
    text = steady(drawn(screen, stage.venue).out, stage)
    if screen.name in NARROW:
        kept(f"{screen.name}-80.txt", text)
    whole = re.compile(r"perpctl |_DIR/|KEY_FILE|127\.0\.0\.1:")
    assert [line for line in text.splitlines() if len(line) > 80 and not whole.search(line)] == []
