"""Start-up: whole processes, interleaved, as ratios of a bare interpreter and of importing Coinbase's own SDK.

Run it as `python benchmarks/start_up.py [ROUNDS]`. Each command runs against a paper exchange on loopback, through a
proxy here that notes when bytes pass: `kill` is measured to its first byte to the exchange and then ended, `positions`
to its end, less the time in which it waited for answers. perpctl and the SDK are installed alike, each in an
environment of its own (`peers.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import peers

from perpctl import profile

PATIENCE_S = 30.0
BARE, SDK_IMPORT = "bare interpreter", "SDK import"
GOALS = {
    "--version": (BARE, 2.0),
    "--help": (BARE, 2.0),
    "kill --dry-run, to its first byte": (BARE, 6.0),
    "kill --force, to its first byte": (BARE, 6.0),
    "positions, less its waiting": (SDK_IMPORT, 1.2),
    "positions": (SDK_IMPORT, 1.2),
    "status, less its waiting": (SDK_IMPORT, 1.2),
    "orders, less its waiting": (SDK_IMPORT, 1.2),
    "health, less its waiting": (SDK_IMPORT, 1.2),
}


@dataclass
class Proxy:
    """Leads to `port` and notes when the first byte came and for how long answers were awaited."""

    port: int
    first_byte: float | None = None
    waited: float = 0.0
    _asked: dict[socket.socket, float] = field(default_factory=dict)
    _since: float | None = None

    def forget(self) -> None:
        self.first_byte, self.waited, self._since = None, 0.0, None
        self._asked.clear()

    def serve(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(listener, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    if key.fileobj is listener:
                        near = listener.accept()[0]
                        try:
                            far = socket.create_connection(("127.0.0.1", self.port))
                        except OSError:  # the exchange has ended; what a kill left running asks it still
                            near.close()
                            continue
                        waiting.register(near, selectors.EVENT_READ, (near, far, True))
                        waiting.register(far, selectors.EVENT_READ, (far, near, False))
                    else:
                        self._pass(waiting, *key.data)

    def _pass(self, waiting: selectors.BaseSelector, source: socket.socket, target: socket.socket, asks: bool) -> None:
        try:
            part = source.recv(1 << 18)
            target.sendall(part)
        except OSError:
            part = b""
        now = time.perf_counter()
        if not part:
            for end in (source, target):
                with contextlib.suppress(KeyError, ValueError):  # the other end was closed in the same round
                    waiting.unregister(end)
                end.close()
            self._answered(source if asks else target, now)
        elif asks:
            self.first_byte = self.first_byte or now
            self._asked[source] = now
            self._since = self._since or now
        else:
            self._answered(target, now)

    def _answered(self, near: socket.socket, now: float) -> None:
        """The time in which at least one answer was awaited counts once."""
        if self._asked.pop(near, None) is not None and not self._asked and self._since is not None:
            self.waited += now - self._since
            self._since = None


@contextlib.contextmanager
def exchange(perpctl: str, place: str) -> Iterator[Proxy]:
    """A paper exchange that perpctl reaches through the proxy."""
    os.environ |= {"PERPCTL_STATE_DIR": f"{place}/state", "PERPCTL_CONFIG_DIR": f"{place}/config"}
    subprocess.run([perpctl, "positions"], check=True, stdout=subprocess.DEVNULL)  # starts it
    card = profile.load("paper").endpoints_file
    assert card is not None
    told = json.loads(card.read_text())
    port = int(told["gateway_http"].split(":")[2].split("/")[0])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(port)
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        told["gateway_http"] = told["gateway_http"].replace(str(port), str(listener.getsockname()[1]))
        card.write_text(json.dumps(told))
        try:
            yield proxy
        finally:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and writes nothing any more
                os.kill(told["pid"], 15)
                while True:
                    time.sleep(0.05)
                    os.kill(told["pid"], 0)


def taken(name: str, command: list[str], proxy: Proxy) -> tuple[float, float]:
    """Seconds of one run, to the end or to the first byte; and of processor time, which a busy machine changes less."""
    proxy.forget()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if "first byte" in name:
        while proxy.first_byte is None and time.perf_counter() - began < PATIENCE_S:
            time.sleep(0.0005)
        os.kill(process.pid, 9)  # Popen.kill would collect one that has ended, and its times with it
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if "first byte" in name:
        assert proxy.first_byte is not None, f"{name} sent no byte to the exchange"
        return proxy.first_byte - began, used.ru_utime + used.ru_stime
    waited = proxy.waited if "less" in name else 0
    return time.perf_counter() - began - waited, used.ru_utime + used.ru_stime


def main(rounds: int) -> None:
    perpctl = peers.perpctl()
    commands = {BARE: [str(perpctl.with_name("python")), "-c", "pass"]}
    commands |= {name: [str(perpctl), *name.split(",")[0].split()] for name in GOALS}
    for requirement in (peers.SDK, peers.OLD_SDK):
        if (python := peers.python(requirement)) is not None:
            name = SDK_IMPORT if requirement == peers.SDK else "older SDK import"
            commands[name] = [str(python), "-c", "from coinbase.rest import RESTClient"]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as place, exchange(str(perpctl), place) as proxy:
        for _ in range(rounds + 1):
            for name, command in commands.items():
                times[name].append(taken(name, command, proxy))
    wall = {name: statistics.median(one for one, _ in runs[1:]) for name, runs in times.items()}  # the first warms up
    spent = {name: statistics.median(one for _, one in runs[1:]) for name, runs in times.items()}
    bases = [name for name in commands if name not in GOALS]
    report = {
        name: {f"x {base}": round(wall[name] / wall[base], 2) for base in bases}
        | {f"x {base}, processor": round(spent[name] / spent[base], 2) for base in bases}
        | {"goal": f"<= {GOALS[name][1]} x {GOALS[name][0]}"}
        for name in GOALS
    }
    facts = {"rounds": rounds, "ms": {name: round(value * 1e3, 1) for name, value in wall.items()}, **report}
    print(json.dumps(facts, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
