"""What wrong input gets: the right exit code, what happened, what to type next, and nothing lost."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from perpctl.profile import load
from perpctl.store.lease import Lease
from tests.commands import scenes
from tests.commands.stage import Stage
from tests.conftest import Cli, Ran, both_venues
from tests.trading import btc

MINUTES = "".join(f"{1640991660 + 60 * at},46319,46385,46319,46377,2300414\n" for at in range(500))


def refused(ran: Ran, code: int, *told: str) -> None:
    """Told on stderr, with the next command and no traceback."""
    assert ran.code == code, ran.err
    for words in told:
        assert words in ran.err
    assert "Next:  " in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["market", "book", "BTC-PREP"], "did you mean BTC-PERP"),
        (["stops", "place", "ETHH-PERP", "--yes"], "did you mean ETH-PERP"),
        (["run", "--strategy", "nobody:Nobody"], "cannot be loaded"),
        (["run", "--risk-level", "bold"], "conservative, moderate, aggressive"),
        (["run", "--mode", "live"], "profile paper is paper"),
        (["run", "--duration", "soon"], "not a valid float"),
        (["positions", "-o", "yaml"], "table, json, jsonl or csv"),
        (["positions", "lst"], "No such command 'lst'"),
        (["positons"], "no such command: positons"),
        (["positions", "-p", "nobody"], "no profile nobody"),
    ],
    ids=" ".join,
)
def test_a_wrong_word_is_named_and_a_right_one_offered(
    paper: dict[str, Any], cli: Cli, words: list[str], told: str
) -> None:
    refused(cli(*words), 2, told)


def test_the_help_that_a_failure_names_exists(cli: Cli) -> None:
    assert "perpctl positions --help" in cli("positions", "lst").err
    assert "perpctl positions close --help" in cli("positions", "close", "--nonsense").err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[profiles.paper.limits]\nmax_order_notional_usd = "5 apples"\n', "max_order_notional_usd"),
        ('[profiles.paper.limits]\nordr_notional = "5"\n', "ordr_notional"),
        ('[profiles.paper]\nsymbolz = ["BTC-PERP"]\n', "did you mean symbols"),
        ('[profiles.paper]\nlocal_api_port = "abc"\n', "local_api_port"),
        ("[profiles.paper\n", "not valid TOML"),
    ],
)
def test_a_broken_setting_is_named_with_its_file(tmp_path: Path, cli: Cli, text: str, told: str) -> None:
    config = tmp_path / "config"
    config.mkdir(exist_ok=True)
    (config / "config.toml").write_text(text)
    for words in (["config", "validate"], ["positions"], ["run", "--duration", "1"]):
        refused(cli(*words), 2, str(config / "config.toml"), told)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_a_feed_file_that_was_cut_off_is_not_replayed(tmp_path: Path, cli: Cli, packed: bool) -> None:
    whole = ("start_epoch_s,open,high,low,close,volume_usd\n" + MINUTES).encode()
    file = tmp_path / ("feed.csv.gz" if packed else "feed.csv")
    file.write_bytes(gzip.compress(whole)[:-20] if packed else whole[:-12])
    refused(cli("run", "--feed", f"replay:{file}", "--speed", "max", "--duration", "5"), 2, str(file), "cut off")


@pytest.mark.parametrize(("text", "mode"), [("junk", 0o600), ("{}", 0o600), (None, 0o644), (None, None)])
def test_a_key_file_that_cannot_be_used_is_named(
    paper: dict[str, Any], tmp_path: Path, cli: Cli, text: str | None, mode: int | None
) -> None:
    file = tmp_path / "key.json"
    if mode is not None:
        assert cli("paper", "key", "--out", str(file), "--yes").code == 0
        file.chmod(mode)
    if text is not None:
        file.write_text(text)
    init = ("config", "init", "desk-a", "--kill-scope", "account")
    refused(cli(*init, "--key-file", str(file), "--yes"), 4, str(file))
    assert not (tmp_path / "config" / "config.toml").exists()


@both_venues
def test_a_key_file_that_others_may_read_stops_the_sign_in_at_the_key_file(paper: dict[str, Any], cli: Cli) -> None:
    file = Path(paper["key_file"])
    file.chmod(0o644)
    try:
        ran = cli("auth", "test", "-o", "json")
        refused(cli("positions"), 4, str(file), f"chmod 600 {file}")
    finally:
        file.chmod(0o600)
    assert ran.code == 4
    assert [(one["gate"], one["verdict"]) for one in ran.json["steps"]] == [
        ("public call", "PASS"),
        ("key file", "FAIL"),
    ]


def test_a_second_bot_of_one_profile_is_told_who_runs(paper: dict[str, Any], cli: Cli) -> None:
    lease = Lease.take(load("paper").state_dir / "lease", "quoter-1")
    try:
        refused(cli("run", "--duration", "1"), 10, "held by quoter-1", "pid")
    finally:
        lease.release()


@both_venues
def test_no_bot_starts_on_a_journal_that_was_changed(paper: dict[str, Any], cli: Cli) -> None:
    assert cli("stops", "place", "--yes").code == 0  # something is on the record
    journal = load(None).state_dir / "journal.db"
    connection = apsw.Connection(str(journal))
    connection.execute("DROP TRIGGER journal_is_never_updated")
    connection.execute("UPDATE journal SET canonical = replace(canonical, 'stops', 'st0ps') WHERE seq = 1")
    assert connection.changes() == 1
    connection.close()
    refused(cli("run", "--duration", "1"), 11, str(journal), "chain broken at line 1", "nothing was started")


def test_a_state_directory_that_is_a_file_is_damaged(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("PERPCTL_STATE_DIR", str(tmp_path / "file"))
    refused(cli("positions"), 11, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@both_venues
def test_a_paper_price_takes_the_symbol_that_every_command_takes(paper: dict[str, Any], cli: Cli) -> None:
    moved = cli("paper", "price", "BTC-PERP", "90000", "--yes")
    assert moved.code == 0, moved.err
    assert btc(paper) in moved.out
    refused(cli("paper", "price", "BTC-PRP", "90000", "--yes"), 2, f"BTC-PERP ({btc(paper)})")


def test_a_venue_that_does_not_answer_is_unknown(paper: dict[str, Any], cli: Cli) -> None:
    assert cli("paper", "fault", "outage", "--yes").code == 0
    refused(cli("verify", "no-orders"), 3)
    assert cli("positions", "-o", "json").json["error"]["code"] == 3


@pytest.fixture
def somebody() -> Iterator[int]:
    """Another bot's service, or one that speaks like it: healthy, on the port that is ours by the settings."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "ok", "pid": 1, "components": {"loop": {"status": "ok"}}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("recorded", [None, 2], ids=["no bot runs", "a bot that died"])
def test_the_health_of_another_bot_is_not_taken_for_ours(
    paper: dict[str, Any], cli: Cli, monkeypatch: pytest.MonkeyPatch, somebody: int, recorded: int | None
) -> None:
    monkeypatch.setenv("PERPCTL_LOCAL_API_PORT", str(somebody))
    if recorded is not None:
        card = {"url": f"http://127.0.0.1:{somebody}", "pid": recorded}
        (load("paper").state_dir / "local_api.json").write_text(json.dumps(card))
    ran = cli("health")
    assert ran.code == 1
    assert "not the bot of this profile" in " ".join(ran.out.split())


READS = (
    "positions", "orders list", "fills list", "stops list", "stops verify", "account", "market status", "market list",
    "market book BTC-PERP", "funding", "funding rates", "funding history", "funding schedule", "reconcile",
    "verify sync", "verify no-orders", "wait flat --timeout 1", "orders trace X", "positions explain BTC-PERP",
    "status", "whoami", "auth test", "auth expiry", "auth refresh", "ws test",
)  # fmt: skip


@pytest.mark.parametrize("line", READS)
def test_a_silent_venue_is_never_an_empty_list(
    stage: Stage, cli: Cli, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("INITIAL_RETRY_DELAY", "0.0000001")
    stage.tell("/fault", kind="outage")
    ran = cli(*line.split(), "-o", "json")
    assert ran.code == 3, ran.out + ran.err
    error = ran.json["error"]
    assert (error["code"], bool(error["message"])) == (3, True)
    assert error["next"], "no next command"
    assert all(command.startswith("perpctl ") for command in error["next"])
    told = cli(*line.split())
    assert told.code == 3
    assert "perpctl " in (told.out + told.err)
    assert "Traceback" not in told.err


def test_a_broken_feed_is_named_beside_a_running_exchange_too(paper: dict[str, Any], tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "feed.csv"
    file.write_text("start_epoch_s,open,high,low,close,volume_usd\n1640991660,463")
    refused(cli("run", "--feed", f"replay:{file}", "--duration", "1"), 2, str(file))
    refused(cli("run", "--feed", f"replay:{tmp_path}/none.csv", "--duration", "1"), 2, "none.csv")
    refused(cli("run", "--feed", "weather", "--duration", "1"), 2, "weather")


def test_an_exchange_is_not_reset_under_a_running_bot(stage: Stage, cli: Cli) -> None:
    scenes.held(stage, cli)
    lease = Lease.take(load("paper").state_dir / "lease", "quoter-1")
    try:
        refused(cli("paper", "reset", "--yes"), 10, "quoter-1", "nothing was forgotten")
        assert len(cli("positions", "-o", "json").json["positions"]) == 2
    finally:
        lease.release()


def test_a_port_that_is_taken_is_said_whose_it_is(stage: Stage, somebody: int, cli: Cli) -> None:
    ran = cli("paper", "serve", "--port", str(somebody))
    assert ran.code == 2
    assert "--port 0 takes a free one" in ran.err
    own = stage.card["gateway_http"].split(":")[2].split("/")[0]
    held = cli("paper", "serve", "--port", own)
    assert held.code == 10
    assert f"port {own} is held by another paper exchange" in held.err


@pytest.fixture
def damaged(stage: Stage, cli: Cli) -> Path:
    """A journal that is no database any more, beside positions at the venue."""
    scenes.held(stage, cli)
    journal = load("paper").state_dir / "journal.db"
    for name in ("journal.db-wal", "journal.db-shm"):
        (journal.parent / name).unlink(missing_ok=True)
    journal.write_bytes(b"this is no database" * 500)
    return journal


def test_a_damaged_journal_is_eleven_and_what_is_held_is_told_all_the_same(damaged: Path, cli: Cli) -> None:
    before = damaged.read_bytes()
    ran = cli("status", "-o", "json")
    assert (ran.code, ran.json["error"]["code"]) == (11, 11)
    assert ran.json["risk"]["positions"] == 2
    assert cli("state", "save").code == 11
    assert cli("reconcile").code == 11
    held = cli("positions")
    assert held.code == 0
    assert "our journal cannot be read" in held.out
    refused(cli("verify", "sync"), 11, "journal.db")
    assert damaged.read_bytes() == before


def test_what_a_damaged_journal_keeps_from_being_done_names_the_profile(damaged: Path, cli: Cli) -> None:
    ran = cli("cancel-all", "--yes")
    assert ran.code == 11
    assert "perpctl -p paper kill --dry-run" in ran.out


def test_a_damaged_latch_halts_and_says_so(stage: Stage, cli: Cli) -> None:
    scenes.held(stage, cli)
    (load("paper").state_dir / "latch").write_bytes(b"nonsense")
    ran = cli("status")
    assert ran.code == 1
    assert "HALTED" in ran.out
    assert "perpctl -p paper resume" in ran.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["positions", "close", "BTCUSD", "--yes"], "unknown symbol 'BTCUSD'"),
        (["positions", "close", "XYZ", "--yes"], "unknown symbol 'XYZ'; this venue lists BTC-PERP, ETH-PERP"),
        (["positions", "close", "BTC-PERP-INTX", "--yes"], "was retired on 1 October 2026"),
        (["positions", "--source", "memory"], "choose venue or local"),
        (["positions", "--watch", "0"], "--watch"),
        (["wait", "flat", "--timeout", "never"], "--timeout"),
        (["fills", "list", "--hours", "-1"], "--hours"),
        (["market", "book", "BTC-PERP", "--depth", "0"], "--depth"),
        (["reconcile", "--plan", "abc"], "go with --apply"),
        (["paper", "price", "BTC-PERP", "cheap", "--yes"], "is no price"),
        (["paper", "price", "BTC_USDC-PERPETUAL", "84000.05", "--yes"], "84000.0 or 84000.1"),
        (["kill", "--scope", "mine"], "invalid choice: 'mine'"),
        (["kill", "--forse"], "unrecognized arguments: --forse"),
        (["paper", "price", "DOGE_USDC-PERPETUAL", "1", "--yes"], "no such instrument"),
        (["paper", "fault", "sneeze", "--yes"], "unknown fault"),
        (["paper", "serve", "--speed", "fast"], "speed"),
        (["config", "init", "paper", "--key-file", "none", "--kill-scope", "ours"], "exists already"),
        (["config", "init", "desk-a", "--key-file", "none"], "--kill-scope is not said"),
        (["config", "init", "desk-a", "--key-file", "none", "--kill-scope", "ours", "--venue", "mars"], "'mars'"),
    ],
    ids=" ".join,
)
def test_a_word_that_makes_no_sense_is_said_with_what_would(
    stage: Stage, cli: Cli, words: list[str], told: str
) -> None:
    ran = cli(*words)
    assert ran.code == 2, ran.out + ran.err
    assert told in ran.out + ran.err
    assert "perpctl " in ran.out + ran.err
    assert "Traceback" not in ran.err
