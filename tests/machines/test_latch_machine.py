"""Latch and lease under any sequence of holders, freezes, crashes and damage: who may send is never in doubt."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from perpctl.model.mode import Mode
from perpctl.store.latch import Latch, LatchState

MODES = st.sampled_from(list(Mode))
_STRICT = {Mode.NORMAL: 0, Mode.REDUCE_ONLY: 1, Mode.HALTED: 2}


class LatchMachine(RuleBasedStateMachine):
    """A latch beside a model of what it must say."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1_000
        self.model: LatchState | None = None
        self.damaged = False
        self.triggered = False

    @initialize(journal=st.booleans())
    def begin(self, journal: bool) -> None:
        self.journal = journal
        if journal:
            (self.folder / "journal.db").touch()

    @property
    def latch(self) -> Latch:
        return Latch(
            self.folder / "latch", trading_disabled_file=self.folder / "TRADING_DISABLED", now_ms=lambda: self.now
        )

    def state(self, mode: Mode, risk: bool, lasts: int | None, kill: bool) -> LatchState:
        until = None if risk or lasts is None else self.now + lasts
        return LatchState(mode, "ops1", "because", self.now, "human", risk, until, "K-1" if kill else None)

    @rule(mode=MODES, risk=st.booleans(), lasts=st.none() | st.integers(1, 500), kill=st.booleans())
    def tighten(self, mode: Mode, risk: bool, lasts: int | None, kill: bool) -> None:
        before = self.latch.read()
        self.model = self.latch.tighten(self.state(mode, risk, lasts, kill))
        self.damaged = False
        if not self.triggered and before.cause not in ("absent", "unreadable"):
            assert _STRICT[self.latch.read().mode] >= _STRICT[before.mode], "tightening loosened"
        assert _STRICT[self.latch.read().mode] >= _STRICT[mode], "what was asked for is not in force"

    @rule(mode=MODES, risk=st.booleans(), lasts=st.none() | st.integers(1, 500))
    def write(self, mode: Mode, risk: bool, lasts: int | None) -> None:
        self.model, self.damaged = self.state(mode, risk, lasts, False), False
        self.latch.write(self.model)

    @rule(seconds=st.integers(1, 400))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(at=st.integers(0, 4095))
    def damage(self, at: int) -> None:
        path = self.folder / "latch"
        if path.exists():
            raw = bytearray(path.read_bytes())
            raw[at] ^= 0xFF
            path.write_bytes(raw)
            self.damaged = not self.damaged or self.latch.read().cause == "unreadable"

    @rule()
    def lose(self) -> None:
        (self.folder / "latch").unlink(missing_ok=True)
        self.model, self.damaged = None, False

    @rule()
    def touch_or_remove_trigger(self) -> None:
        self.triggered = not self.triggered
        path = self.folder / "TRADING_DISABLED"
        path.touch() if self.triggered else path.unlink()

    @invariant()
    def in_doubt_it_is_halted(self) -> None:
        if not hasattr(self, "journal"):
            return
        state = self.latch.read()
        if self.damaged or self.triggered or (self.model is None and self.journal):
            assert state.mode is Mode.HALTED
        elif self.model is not None and self.model.risk:
            assert state.mode is self.model.mode, "a risk halt went away by itself"

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestLatchMachine = LatchMachine.TestCase
TestLatchMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
