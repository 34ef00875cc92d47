"""A paper exchange in a process of its own, and a small client for it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt

BTC = "BTC_USDC-PERPETUAL"


class Exchange:
    """One server process; `rpc` speaks to it, `control` interferes with it."""

    def __init__(self, state_dir: Path, *options: str) -> None:
        self.state_dir = state_dir
        command = [sys.executable, "-m", "perpctl.paper.server", "--state-dir", str(state_dir), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate(timeout=60)[1])
        self.ready: dict[str, Any] = json.loads(line)
        verify = ssl.create_default_context(cafile=self.ready["ca_file"]) if self.ready["ca_file"] else True
        self.client = httpx.Client(trust_env=False, verify=verify, timeout=60)
        self.token = ""

    def jwt(self) -> str:
        key = json.loads(Path(self.ready["key_file"]).read_text())
        now = int(time.time())
        claims = {"sub": key["name"], "iss": "cdp", "nbf": now, "exp": now + 120}
        header = {"kid": key["name"], "nonce": uuid.uuid4().hex}
        return jwt.encode(claims, key["privateKey"], algorithm="ES256", headers=header)

    def auth(self) -> None:
        params = {"grant_type": "coinbase_cdp", "token": self.jwt()}
        self.token = self.post("public/auth", params).json()["result"]["access_token"]

    def post(self, method: str, params: dict[str, Any]) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        body = {"jsonrpc": "2.0", "method": method, "params": params}
        return self.client.post(f"{self.ready['gateway_http']}/{method}", json=body, headers=headers)

    def rpc(self, method: str, **params: Any) -> Any:
        answer = self.post(method, params).json()
        assert "result" in answer, answer
        return answer["result"]

    def control(self, path: str, verb: str = "POST", **content: Any) -> Any:
        answer = self.client.request(verb, f"{self.ready['control']}/{path}", json=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def running(state_dir: Path, *options: str) -> Any:
    exchange = Exchange(state_dir, *options)
    try:
        yield exchange
    finally:
        exchange.close()


def refused(state_dir: Path, *options: str) -> tuple[int, str]:
    """(exit code, stderr) of a server that does not come up."""
    command = [sys.executable, "-m", "perpctl.paper.server", "--state-dir", str(state_dir), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ), check=False)
    return done.returncode, done.stderr
