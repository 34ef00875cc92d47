"""Other people's packages, each in an environment of its own, made once from the package index."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1] / ".peers"
SDK, OLD_SDK = "coinbase-advanced-py==2.0.0rc1", "coinbase-advanced-py==1.8.4"
CCXT, CRYPTOFEED = "ccxt==4.5.90", "cryptofeed==2.4.1"


def python(requirement: str) -> Path | None:
    """The interpreter of an environment that holds this requirement and nothing of ours; None: it cannot be had."""
    place = ROOT / requirement.replace("=", "-")
    interpreter = place / "bin" / "python"
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        made = subprocess.run([interpreter, "-m", "pip", "install", "-q", requirement], check=False, timeout=900)
        if made.returncode != 0:
            print(f"{requirement} cannot be installed here; it is left out", file=sys.stderr)
            return None
        (place / "ready").touch()
    return interpreter
