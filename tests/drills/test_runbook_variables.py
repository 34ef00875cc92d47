"""The runbook's variables from a shell: keys for live money, debugging without a secret anywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tests.conftest import Cli
from tests.drills.live_profile import write_live_profile
from tests.drills.running import running

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]


@pytest.fixture
def key(paper: dict[str, Any], tmp_path: Path) -> tuple[str, dict[str, Path]]:
    """The exchange's own key as bare PEM files, and its name."""
    content = json.loads(Path(paper["key_file"]).read_text())
    private = load_pem_private_key(content["privateKey"].encode(), password=None)
    formats = {"sec1": PrivateFormat.TraditionalOpenSSL, "pkcs8": PrivateFormat.PKCS8}
    files = {}
    for name, form in formats.items():
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_bytes(private.private_bytes(Encoding.PEM, form, NoEncryption()))
        files[name].chmod(0o600)
    return content["name"], files


@pytest.mark.parametrize("form", ["sec1", "pkcs8"])
def test_a_live_profile_signs_in_and_kills_with_the_key_of_the_environment(
    form: str,
    paper: dict[str, Any],
    key: tuple[str, dict[str, Path]],
    perpctl: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, files = key
    write_live_profile(paper)
    assert perpctl("-p", "desk-a", "auth", "test").code == 4
    monkeypatch.setenv("COINBASE_CDP_API_KEY", name)
    monkeypatch.setenv("COINBASE_CDP_PRIVATE_KEY_PATH", str(files[form]))
    signed_in = perpctl("-p", "desk-a", "auth", "test", "-o", "json")
    assert signed_in.code == 0, signed_in.out + signed_in.err
    assert str(files[form]) in signed_in.out
    looked = perpctl("kill", "-p", "desk-a", "--dry-run")
    assert "cannot be used" not in looked.out + looked.err
    assert looked.code == 0, looked.out + looked.err


def test_paper_never_reads_the_key_of_the_environment(
    paper: dict[str, Any], perpctl: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COINBASE_CDP_API_KEY", "organizations/o/apiKeys/live-key")
    monkeypatch.setenv("COINBASE_CDP_PRIVATE_KEY_PATH", str(tmp_path / "nowhere.pem"))
    ran = perpctl("whoami", "-o", "json")
    assert ran.code == 0, ran.err
    assert ran.json["key_file"] == paper["key_file"]


def test_a_bot_that_is_debugged_writes_no_key_token_or_jwt_anywhere(
    paper: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LOG_LEVEL", "DEBUG"), ("DEBUG_API_CALLS", "true"), ("DEBUG_WEBSOCKET", "true")):
        monkeypatch.setenv(name, value)
    with running() as bot:
        bot.until(lambda: bot.events("place"))
        bot.until(lambda: "public/auth" in bot.out.read_text())
        assert bot.stop() == 0
    told = bot.out.read_text()
    assert "DEBUG api -> websocket private/" in told
    assert "DEBUG websocket <- " in told
    assert re.search(r"(?m)^\S+Z DEBUG bot PLACE", told)
    secret = json.loads(Path(paper["key_file"]).read_text())["privateKey"]
    body = [line for line in secret.splitlines() if len(line) > 20 and not line.startswith("-----")]
    exchange = Path(paper["key_file"]).parent
    for path in (path for path in bot.directory.rglob("*") if path.is_file() and exchange not in path.parents):
        content = path.read_bytes().decode(errors="replace")
        found = re.findall(r"eyJ[\w-]{10,}|BEGIN [A-Z ]*PRIVATE KEY|[Bb]earer \S+", content)
        found += [line for line in body if line in content]
        found += re.findall(r'"(?:access_token|refresh_token|token)":"(?!\[hidden\])[^"]*"', content)
        assert (path, found) == (path, [])


@pytest.mark.parametrize(("level", "told"), [("INFO", True), ("ERROR", False)])
def test_the_log_level_says_how_much_a_bot_tells(
    level: str, told: bool, paper: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    with running() as bot:
        bot.until(lambda: bot.events("place"))
        assert bot.mode("reduce_only")[0] == 200
        assert bot.stop() == 0
    lines = [line for line in bot.out.read_text().splitlines() if not line.startswith("{")]
    assert any(" INFO bot MODE  reduce_only" in line for line in lines) is told
    assert not any(" DEBUG " in line for line in lines)
