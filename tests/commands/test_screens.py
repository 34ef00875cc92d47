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

import pytest

from perpctl import __main__ as front_door
from perpctl import profile
from perpctl.clock import ManualClock
from tests.commands import scenes
from tests.commands.stage import Stage, StillClock
from tests.conftest import START, Cli, Ran

SURE = ("--yes", "--reason", "drill")
NARROW = {"positions-bare", "positions-unknown", "preflight", "preflight-may-not-start", "orders-list", "status-warn"}
NARROW |= {"reconcile-differences", "stops-list", "fills-list", "market-status"}
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
    Screen("positions-close-all", scenes.bare, "positions close-all --market", acts=True),
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
    Screen("orders-trace", scenes.protected, "orders trace USDC-SLMS-198150503752"),
    Screen("orders-trace-nobodys", scenes.flat, "orders trace nothing-of-ours", 1),
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


def drawn(screen: Screen, *form: str) -> Ran:
    """The command as a process would run it, on a clock that stands still or moves by its own waiting alone."""
    out, err = io.StringIO(), io.StringIO()
    clock = StillClock(START) if screen.sockets else ManualClock(START)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = front_door.main([*screen.line.split(), *(SURE if screen.acts else ()), *form], clock)
    assert "Traceback" not in err.getvalue()
    return Ran(int(code), out.getvalue(), err.getvalue())


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
        str(profile.load("paper").trading_disabled_file): "TRADING_DISABLED",
        getpass.getuser(): "OPERATOR",
    }
    for place, name in places.items():
        text = text.replace(place, name)
    for pattern, name in _VARYING:
        text = re.sub(pattern, name, text)
    return text


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_a_screen_reads_as_before(
    screen: Screen, stage: Stage, cli: Cli, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text, as JSON with all that the text shows, and folded into eighty columns."""
    monkeypatch.setenv("INITIAL_RETRY_DELAY", "0.0000001")  # a pause of chance would move the clock by chance
    monkeypatch.setenv("PERPCTL_LOCAL_API_PORT", "1")  # where nothing listens
    monkeypatch.setattr(sys, "argv", ["perpctl", *screen.line.split()])  # what the journal keeps of a writer
    screen.scene(stage, cli)
    ran = drawn(screen)
    golden(f"{screen.name}.txt", steady(f"$ perpctl {screen.line}\n{ran.out}{ran.err}exit {ran.code}\n", stage))
    assert ran.code == screen.code
    if screen.acts:
        stage.reset()
        shutil.rmtree(profile.load("paper").state_dir)
        stage.found()
        screen.scene(stage, cli)
    in_json(screen, stage, golden)
    if not screen.acts:
        monkeypatch.setenv("COLUMNS", "80")
        in_eighty_columns(screen, stage, golden)


def in_json(screen: Screen, stage: Stage, golden: Golden) -> None:
    """The envelope is there, and `error` where the command failed."""
    ran = drawn(screen, "-o", "json")
    found = ran.json
    golden(f"{screen.name}.json", steady(json.dumps(found, indent=2) + "\n", stage))
    assert ran.code == screen.code
    assert {"schema", "env", "venue", "profile", "account", "at"} <= found.keys()
    assert (found["env"], found["venue"], found["profile"]) == ("paper", "global", "paper")
    assert ("error" in found) is (ran.code > 1)
    if ran.code > 1:
        assert (found["error"]["code"], bool(found["error"]["message"])) == (ran.code, True)


def in_eighty_columns(screen: Screen, stage: Stage, golden: Golden) -> None:
    """But for what is pasted as a whole: a command, a path, an address."""
    text = steady(drawn(screen).out, stage)
    if screen.name in NARROW:
        golden(f"{screen.name}-80.txt", text)
    whole = re.compile(r"perpctl |_DIR/|KEY_FILE|127\.0\.0\.1:")
    assert [line for line in text.splitlines() if len(line) > 80 and not whole.search(line)] == []
