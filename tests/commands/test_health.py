"""What is said of a bot that runs: its components, the five boxes after a start, and its illness."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from perpctl.profile import load
from perpctl.store.lease import Lease
from tests.commands.stage import Stage
from tests.conftest import Cli, Ran

WELL = {
    "feeds": {"status": "ok", "age_s": "0.2", "detail": "quotes of every product, orders and fills"},
    "loop": {"status": "ok", "age_s": None, "detail": "lag p99 1.8 ms"},
    "reconcile": {"status": "ok", "age_s": "18.0", "detail": "agrees with the venue"},
}
ILL = {
    **WELL,
    "feeds": {"status": "bad", "age_s": "12.4", "detail": "no orders and fills: the user channel is silent"},
    "reconcile": {"status": "bad", "age_s": None, "detail": "never"},
}


@pytest.fixture
def bot(stage: Stage) -> Iterator[dict[str, Any]]:
    """A bot of this profile, as far as others can tell: its lease, its card, and a service that answers for it."""
    says: dict[str, Any] = dict(WELL)

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            good = all(one["status"] == "ok" for one in says.values())
            body = json.dumps({"pid": os.getpid(), "components": says}).encode()
            self.send_response(200 if good else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    directory = load("paper").state_dir
    directory.mkdir(parents=True, exist_ok=True)
    card = {"url": f"http://127.0.0.1:{server.server_address[1]}", "pid": os.getpid()}
    (directory / "local_api.json").write_text(json.dumps(card))
    lease = Lease.take(directory / "lease", "quoter-1")
    yield says
    lease.release()
    server.shutdown()
    server.server_close()


def steady(ran: Ran) -> str:
    """Without port and pid."""
    address = json.loads((load("paper").state_dir / "local_api.json").read_text())["url"]
    return ran.out.replace(address, "http://127.0.0.1:PORT").replace(str(os.getpid()), "PID")


@pytest.mark.parametrize(("name", "says", "code"), [("health", WELL, 0), ("health-ill", ILL, 1)])
def test_each_component_is_told_with_its_age(
    bot: dict[str, Any], cli: Cli, golden: Callable[[str, str], None], name: str, says: dict[str, Any], code: int
) -> None:
    bot.update(says)
    ran = cli("health")
    golden(f"{name}.txt", f"$ perpctl health\n{steady(ran)}exit {ran.code}\n")
    found = cli("health", "-o", "json")
    golden(f"{name}.json", json.dumps(json.loads(steady(found)), indent=2) + "\n")
    assert (ran.code, found.code, found.json["healthy"]) == (code, code, code == 0)
    assert found.json["components"] == says


@pytest.mark.parametrize(("name", "says", "code"), [("verify-startup", WELL, 0), ("verify-startup-ill", ILL, 1)])
def test_the_five_boxes_are_ticked_with_evidence(
    bot: dict[str, Any], cli: Cli, golden: Callable[[str, str], None], name: str, says: dict[str, Any], code: int
) -> None:
    bot.update(says)
    ran = cli("verify", "startup")
    golden(f"{name}.txt", f"$ perpctl verify startup\n{steady(ran)}exit {ran.code}\n")
    found = cli("verify", "startup", "-o", "json")
    golden(f"{name}.json", json.dumps(json.loads(steady(found)), indent=2) + "\n")
    assert (ran.code, found.code) == (code, code)
    assert [one["verdict"] for one in found.json["boxes"]].count("PASS") == (5 if code == 0 else 2)


def test_status_names_what_the_bot_is_ill_of(bot: dict[str, Any], cli: Cli) -> None:
    assert "alive, pid" in cli("status").out
    bot.update(ILL)
    ran = cli("status")
    assert ran.code == 1
    assert "NOT HEALTHY: feeds, reconcile" in ran.out
    assert "perpctl -p paper health" in ran.out
