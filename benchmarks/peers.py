"""Other people's packages, each in an environment of its own, made once from the package index; perpctl like them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROJECT = Path(__file__).parents[1]
ROOT = PROJECT / ".peers"
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


def perpctl() -> Path:
    """The program as an operator has it, from this source: installed, and compiled like every installed package.

    In a checkout, each start may compile all of our files again (PYTHONDONTWRITEBYTECODE) and looks for them first.
    """
    place = ROOT / "perpctl"
    interpreter = place / "bin" / "python"
    with tempfile.TemporaryDirectory() as copied:
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(PROJECT / name, copied)
        shutil.copytree(PROJECT / "perpctl", f"{copied}/perpctl", ignore=shutil.ignore_patterns("__pycache__"))
        install = [interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if not (place / "ready").exists():
            venv.create(place, with_pip=True, clear=True)
            subprocess.run([*install, copied], check=True, timeout=900)
            (place / "ready").touch()
        subprocess.run([*install, "--no-deps", "--force-reinstall", copied], check=True, timeout=900)
    return place / "bin" / "perpctl"
