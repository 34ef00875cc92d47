"""Every gate before a start: what makes it fail, warn or stay unknown, told with evidence and a fix."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest

from perpctl import __main__ as front_door
from perpctl import profile
from perpctl.clock import to_ms
from perpctl.desk import Desk
from perpctl.emergency.pending import Record
from perpctl.paper.keys import KeyRing
from perpctl.store.intents import Intents
from perpctl.store.lease import Lease
from tests import trading
from tests.commands import scenes
from tests.commands.stage import BTC, Stage, StillClock
from tests.conftest import START, Cli
from tests.store import stock


@dataclass
class Setting:
    """A live profile at the stage whose preflight is green but for what a test spoils."""

    stage: Stage
    config: Path
    keys: Path

    def write(self, **settings: Any) -> None:
        """The profile, with settings changed; None leaves one out. A table is given as its text."""
        card = self.stage.card
        usual = {
            "env": "live",
            "venue": "global",
            "risk_level": "conservative",
            "kill_scope": "account",
            "key_file": card["key_file"],
            "kill_key_file": self.key("kill.json"),
            "backup_key_file": self.key("backup.json"),
        }
        tables = {
            "account": 'id = "1"\n',
            "endpoints": "\n".join(f'{key} = "{card[f"gateway_{key}"]}"' for key in ("http", "ws", "streams")),
            "limits": "",
        }
        plain = {**usual, **settings}
        lines = ["[profiles.desk-a]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items() if _is_plain(key, value)]
        for name, text in {**tables, **{key: settings[key] for key in tables if key in settings}}.items():
            lines += ["", f"[profiles.desk-a.{name}]", text] if text is not None else []
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text("\n".join(lines) + "\n")

    def key(self, name: str, account: int = 1, may: tuple[str, ...] = ("view", "trade")) -> str:
        """A key file that the exchange knows."""
        path = self.keys / name
        if not path.exists():
            KeyRing(Path(self.stage.card["state_dir"])).create("es256", path, may, account, START)
        return str(path)

    def gates(self, at: StillClock | None = None) -> dict[str, dict[str, Any]]:
        """Each gate by its name."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = front_door.main(["preflight", "-p", "desk-a", "-o", "json"], at or StillClock(START))
        found = json.loads(out.getvalue())
        verdicts = {gate["verdict"] for gate in found["gates"]}
        assert code == (1 if "FAIL" in verdicts else 3 if "UNKNOWN" in verdicts else 0)
        assert found["may_start"] is (code == 0)
        return {gate["gate"]: gate for gate in found["gates"]}

    @property
    def state_dir(self) -> Path:
        directory = profile.load("desk-a").state_dir
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def _is_plain(key: str, value: Any) -> bool:
    return value is not None and key not in ("account", "endpoints", "limits")


@pytest.fixture
def setting(stage: Stage, tmp_path: Path) -> Setting:
    keys = tmp_path / "keys"
    keys.mkdir()
    made = Setting(stage, tmp_path / "config" / "config.toml", keys)
    made.write()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        front_door.main(["probe", "-p", "desk-a"], StillClock(START))  # what the key can do is known
    return made


def at_the_live_desk(act: Callable[[Desk], object]) -> None:
    """Something done as ourselves in the live profile."""
    desk = Desk(profile.load("desk-a"), StillClock(START))
    try:
        act(desk)
    finally:
        if desk._journal is not None:
            desk._journal.close()


def test_a_desk_in_order_may_start(setting: Setting) -> None:
    gates = setting.gates()
    assert {name: gate["evidence"] for name, gate in gates.items() if gate["verdict"] not in ("PASS", "WARN")} == {}
    assert {name for name, gate in gates.items() if gate["verdict"] == "WARN"} <= {"capability probe"}
    assert len(gates) >= 28
    assert all(gate["evidence"] and gate["age_s"] for gate in gates.values())
    assert "sees the same account 1" in gates["kill key"]["evidence"]


# --- what spoils a gate -----------------------------------------------------------------------------------------------

Spoil = Callable[[Setting, Cli], None]


def fault(method: str) -> Spoil:
    """The venue answers this method with an error, for ever."""

    def spoil(setting: Setting, cli: Cli) -> None:
        setting.stage.fault("error", method)

    return spoil


def settings(**changed: Any) -> Spoil:
    """The profile says something else."""
    return lambda setting, cli: setting.write(**changed)


def key_of(what: str, account: int = 1, may: tuple[str, ...] = ("view", "trade")) -> Spoil:
    """One key is another."""
    return lambda setting, cli: setting.write(**{what: setting.key("other.json", account, may)})


def open_to_all(setting: Setting, cli: Cli) -> None:
    Path(setting.key("other.json")).chmod(0o644)
    setting.write(key_file=setting.key("other.json"))


def halted_book(setting: Setting, cli: Cli) -> None:
    setting.stage.tell("/state", instrument_name=BTC, state="halted")


def announced(setting: Setting, cli: Cli) -> None:
    setting.stage.tell("/announce", title="Maintenance on Tuesday 09:00 UTC")


def somebody_elses_order(setting: Setting, cli: Cli) -> None:
    setting.stage.call("private/sell", type="limit", instrument_name=BTC, amount=0.01, price=88000)


def somebody_elses_trade(setting: Setting, cli: Cli) -> None:
    setting.stage.call("private/buy", type="market", instrument_name=BTC, amount=0.01)
    setting.stage.call("private/sell", type="market", instrument_name=BTC, amount=0.01)


def a_slot(setting: Setting, cli: Cli) -> None:
    wanted = {"instrument_name": BTC, "amount": 0.01, "isolated": True, "allocated_margin": 100}
    setting.stage.call("private/buy", type="market", **wanted)


def bare(setting: Setting, cli: Cli) -> None:
    scenes.at_the_desk(lambda desk: trading.place(desk, size="0.05"))


def liquidated(setting: Setting, cli: Cli) -> None:
    scenes.at_the_desk(lambda desk: trading.place(desk, size="30"))
    setting.stage.tell("/price", instrument_name=BTC, price="81600")
    setting.stage.tell("/advance", seconds=120)


def a_day_of_losses(setting: Setting, cli: Cli) -> None:
    at_the_live_desk(
        lambda desk: desk.projections().set_baseline(scenes.RISK_DAY, Decimal(110_000), "USDC", to_ms(START))
    )


def latched(setting: Setting, cli: Cli) -> None:
    assert cli("disable", "-p", "desk-a", "--reason", "drill").code == 0


def kill_pending(setting: Setting, cli: Cli) -> None:
    Record(setting.state_dir, "K-1", None).write("started", kill_id="K-1", pid=1, started="0", terms={})


def unknown_order(setting: Setting, cli: Cli) -> None:
    def act(desk: Desk) -> None:
        name = trading.our_name(desk)
        intents = Intents(desk.projections())
        intents.intend(stock.request(name), stock.ALLOWED, stock.GROUNDS)
        intents.unknown(name, "no answer in time")

    at_the_live_desk(act)


def tampered(setting: Setting, cli: Cli) -> None:
    latched(setting, cli)
    connection = apsw.Connection(str(setting.state_dir / "journal.db"))
    connection.execute("DROP TRIGGER journal_is_never_updated")
    connection.execute("UPDATE journal SET canonical = replace(canonical, 'drill', 'dr1ll') WHERE seq = 1")
    connection.close()


def never_compared(setting: Setting, cli: Cli) -> None:
    bare(setting, cli)
    assert cli("stops", "place", "-p", "desk-a", "--yes", "--reason", "drill").code == 0


CASES: list[tuple[str, str, Spoil, str]] = [
    ("account", "FAIL", settings(account=None), "this profile pins none"),
    ("account", "UNKNOWN", settings(account='id = "2"\n'), "pinned is 2"),
    ("key", "FAIL", open_to_all, "chmod 600"),
    ("key", "FAIL", key_of("key_file", may=("view", "trade", "transfer")), "may move money away"),
    ("kill key", "WARN", settings(kill_key_file=None), "not set"),
    ("kill key", "FAIL", key_of("kill_key_file", account=2), "sees account 2, not 1"),
    ("backup key", "WARN", settings(backup_key_file=None), "not set"),
    ("backup key", "FAIL", key_of("backup_key_file", account=2), "would call an empty account flat"),
    ("state", "FAIL", halted_book, "BTC_USDC-PERPETUAL halted"),
    ("state", "WARN", announced, "Maintenance on Tuesday 09:00 UTC"),
    ("instrument", "FAIL", settings(symbols=["BTC-PREP"]), "did you mean BTC-PERP"),
    ("price band", "UNKNOWN", fault("public/ticker"), "public/ticker"),
    ("request limits", "FAIL", settings(limits="messages_per_s = 6\n"), "more than the venue takes"),
    ("cancel on disconnect", "UNKNOWN", fault("private/enable_cancel_on_disconnect"), "cancel_on_disconnect"),
    ("channels", "FAIL", fault("public/subscribe"), "refused: ticker.BTC_USDC-PERPETUAL.100ms"),
    ("orders", "WARN", somebody_elses_order, "1 of 1 working order not ours"),
    ("positions", "UNKNOWN", fault("private/get_positions"), "no answer within 3 s | private/get_positions"),
    ("isolated slots", "WARN", a_slot, "1 in use"),
    ("liquidation", "FAIL", liquidated, "in 24 h, last SELL"),
    ("foreign activity", "WARN", somebody_elses_trade, "fills not ours in 24 h"),
    ("funding", "UNKNOWN", fault("public/ticker"), "public/ticker"),
    ("stops", "FAIL", bare, "NO STOP AT THE VENUE"),
    ("limits", "FAIL", settings(risk_level=None), "no risk level"),
    ("daily loss", "FAIL", a_day_of_losses, "at or past the reduce line"),
    ("latch", "FAIL", latched, "HALTED by"),
    ("kill", "FAIL", kill_pending, "pending: K-1"),
    ("kill", "FAIL", settings(kill_scope=None), "kill_scope is not set"),
    ("journal", "FAIL", tampered, "chain broken at line 1: its content is not what was hashed"),
    ("unknown orders", "FAIL", unknown_order, "1 order of unknown outcome"),
    ("reconcile", "WARN", never_compared, "never clean"),
]


@pytest.mark.parametrize(("name", "verdict", "spoil", "told"), CASES, ids=[f"{one[0]}-{one[3]}" for one in CASES])
def test_a_gate_sees_what_is_wrong(
    setting: Setting, cli: Cli, name: str, verdict: str, spoil: Spoil, told: str
) -> None:
    spoil(setting, cli)
    gate = setting.gates()[name]
    assert (gate["verdict"], any(one in gate["evidence"] for one in told.split(" | "))) == (verdict, True), gate


def test_a_clock_that_is_wrong_shuts_its_gate(setting: Setting) -> None:
    assert setting.gates(StillClock(START + timedelta(minutes=2)))["clock"]["verdict"] == "FAIL"
    assert setting.gates(StillClock(START + timedelta(seconds=5)))["clock"]["verdict"] == "WARN"


def test_a_bot_that_does_not_answer_could_not_be_fenced(setting: Setting) -> None:
    lease = Lease.take(setting.state_dir / "lease", "quoter-1")
    try:
        gates = setting.gates()
    finally:
        lease.release()
    assert gates["kill reaches the bot"]["verdict"] == "FAIL"
    assert (gates["lease"]["verdict"], "a bot runs" in gates["lease"]["evidence"]) == ("WARN", True)


def test_a_silent_venue_is_asked_once_and_no_gate_of_its_own_passes(setting: Setting) -> None:
    setting.stage.tell("/fault", kind="outage")
    gates = setting.gates()
    ours = {"limits", "latch", "kill", "kill reaches the bot", "lease", "journal", "unknown orders", "reconcile"}
    assert {name for name, gate in gates.items() if gate["verdict"] == "PASS"} == ours | {"version, settings"}
    assert {gate["verdict"] for name, gate in gates.items() if name not in ours | {"version, settings"}} == {"UNKNOWN"}


def test_gates_that_hang_are_unknown_within_ten_seconds(setting: Setting) -> None:
    setting.stage.fault("delay_answer", "private/get_open_orders", seconds=30)
    gates = setting.gates()
    assert gates["orders"]["verdict"] == "UNKNOWN"
    assert gates["orders"]["evidence"] == "no answer within 3 s"
    assert gates["account"]["verdict"] == "PASS"
