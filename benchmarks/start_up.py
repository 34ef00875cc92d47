"""Start-up: whole processes, interleaved, as ratios of a bare interpreter and of importing Coinbase's own SDK.

Run it as `python benchmarks/start_up.py [ROUNDS]`. The SDK is measured in the environment that `pytest -m judge` makes;
without it that ratio is left out, and said so.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PERPCTL = [str(Path(sys.executable).with_name("perpctl"))]
SDK = Path(__file__).parents[1] / ".judges" / "coinbase-advanced-py--2.0.0rc1" / "bin" / "python"
GOALS = {
    "--version": ("bare interpreter", 2.0),
    "--help": ("bare interpreter", 2.0),
    "kill --dry-run": ("bare interpreter", 6.0),
    "positions": ("SDK import", 1.2),
}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"PERPCTL_STATE_DIR": f"{place}/state", "PERPCTL_CONFIG_DIR": f"{place}/config"}
        subprocess.run([*PERPCTL, "positions"], check=True, stdout=subprocess.DEVNULL)  # starts the paper exchange
        medians = measured(rounds)
    bases = {"bare interpreter": medians["bare interpreter"], "SDK import": medians.get("SDK import")}
    report = {
        name: {
            "ms": round(medians[name] * 1000, 1),
            **{f"x {base}": round(medians[name] / value, 2) for base, value in bases.items() if value},
            "goal": f"<= {GOALS[name][1]} x {GOALS[name][0]}",
        }
        for name in GOALS
    }
    missing = None if SDK.exists() else "SDK not measured: run `pytest -m judge` once"
    base_ms = {base: round(value * 1000, 1) for base, value in bases.items() if value}
    json.dump({"rounds": rounds, "base_ms": base_ms, **report, "missing": missing}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def measured(rounds: int) -> dict[str, float]:
    """Median seconds of each command, one of each in turn; the first round is not counted."""
    commands = {
        "bare interpreter": [sys.executable, "-c", "pass"],
        **{name: [*PERPCTL, *name.split()] for name in GOALS},
    }
    if SDK.exists():
        commands["SDK import"] = [str(SDK), "-c", "from coinbase.rest import RESTClient"]
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
