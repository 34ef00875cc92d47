"""A bot that trades without rest at an exchange that can be made to fail, and the questions asked after it healed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl import profile
from perpctl.host.process import start_detached
from perpctl.model.mode import Mode
from perpctl.store.latch import Latch, LatchState
from tests.conftest import end, tell
from tests.drills import oracle
from tests.drills.running import Running, running
from tests.trading import control

SPEED = "30"
BTC = "BTC_USDC-PERPETUAL"
STRATEGY = "tests.drills.restless:Restless"
MOST_USD = 20_000
LIMIT = Decimal(MOST_USD) * Decimal("1.02")  # the mark moves while an order rests
COVER_S = 8.0  # bare for 5 s at most, then it is closed
HOLDING = {"rejections", "latency"}
PACE = ("answers to orders take", "of orders succeed")  # why the bot went to reduce_only by itself
LIMITS = f"""
[profiles.paper.limits]
max_position_notional_usd = {MOST_USD}
max_order_notional_usd = 5000
max_orders_day = 100000
same_side_executions = 100000
losing_round_trips = 100000
pause_move_1m_pct = 50
pause_mark_index_pct = 50
day_loss_warn_pct = 90
day_loss_reduce_pct = 91
day_loss_kill_pct = 92
drawdown_halt_pct = 93
"""


@dataclass
class Arena:
    """One exchange, and the bot on it."""

    directory: Path
    seed: int
    ready: dict[str, Any] = field(default_factory=dict)
    bots: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    bot: Running | None = None
    strategy: str = STRATEGY

    @property
    def exchange(self) -> Path:
        return Path(self.ready["state_dir"])

    def open(self) -> None:
        config = Path(os.environ["PERPCTL_CONFIG_DIR"])
        config.mkdir(parents=True, exist_ok=True)
        (config / "config.toml").write_text(LIMITS)
        self.start_exchange(0)

    def start_exchange(self, port: int) -> None:
        settings = profile.load("paper")
        assert settings.endpoints_file is not None
        folder = settings.endpoints_file.parent
        command = [sys.executable, "-m", "perpctl.paper.server", "--port", str(port), "--state-dir", str(folder)]
        command += ["--speed", SPEED, "--seed", str(self.seed)]
        self.ready = dict(start_detached(command, folder / "server.log", ready_within_s=20))

    def close(self) -> None:
        self.bots.close()
        end(int(self.ready["pid"]))

    def tell(self, path: str, **words: Any) -> Any:
        return tell(f"{self.ready['control']}/{path}", **words)

    def fault(self, rule: dict[str, Any]) -> int:
        return int(control(self.ready, "/fault", rule)["id"])

    def strikes(self, rule: int) -> int:
        """How often a rule has really struck, by the exchange's own count."""
        return int(self.tell("fault", method="GET")["struck"].get(str(rule), 0))

    def trade_with(self, strategy: str) -> Running:
        """Another strategy from here on; the old bot ends in order."""
        if self.strategy != strategy:
            self.strategy = strategy
            if self.bot is not None and self.bot.process.poll() is None:
                self.bot.stop()
        return self.trading()

    def trading(self) -> Running:
        """The bot, alive, in normal mode, and seen to send since."""
        if self.bot is None or self.bot.process.poll() is not None:
            self.bots.close()
            self.make_normal()
            self.bot = self.bots.enter_context(running("--strategy", self.strategy, level="moderate"))
        bot, before = self.bot, len(self.ledger().orders)
        if not self._is_held_back(bot):
            if bot.control(do="mode")["mode"] != "normal":
                self.make_normal()
            bot.until(lambda: self._is_held_back(bot) or len(self.ledger().orders) > before, 20.0)
        if self._is_held_back(bot):
            assert bot.stop() in (0, 3)  # 3: an order without an answer is not called gone
            return self.trading()
        return bot

    def keep_trading(self) -> None:
        """A bot that keeps still for its own good would let no fault strike."""
        if self.bot is None or self.bot.process.poll() is not None or self._is_held_back(self.bot):
            self.trading()

    def _is_held_back(self, bot: Running) -> bool:
        """After too many failed or slow orders it is shut for a quarter of an hour; a restart is quicker."""
        if any(word in bot.control(do="mode")["why"] for word in PACE):
            return True
        last = [line for line in bot.lines if line.get("event") in {"place", "refused"}][-2:]
        return bool(last) and all(line.get("gate") in HOLDING for line in last)

    def make_normal(self) -> None:
        """As an operator does who has looked."""
        directory = profile.load("paper").state_dir
        if (directory / "latch").exists():
            now_ms = int(time.time() * 1000) - 3_600_000  # long ago: the limits have grown back
            Latch(directory / "latch").write(LatchState(Mode.NORMAL, "drill", "healed", now_ms, "human"))

    def ledger(self) -> oracle.Ledger:
        return oracle.read_ledger(self.exchange)

    def kill_exchange(self) -> None:
        os.kill(int(self.ready["pid"]), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(int(self.ready["pid"]), 0)

    def restart_exchange(self) -> None:
        self.start_exchange(int(self.ready["control"].split(":")[2].split("/")[0]))

    def heal(self, within_s: float = 65.0) -> list[str]:
        """No more faults; what is still wrong when everything had its time (two reconciliations), empty is right."""
        self.tell("fault", method="DELETE")
        assert self.bot is not None
        trouble = self._uncovered()
        trouble += self._unsettled(within_s)
        return trouble

    def _uncovered(self) -> list[str]:
        ends = time.monotonic() + COVER_S
        while time.monotonic() < ends:
            if self.ledger().is_covered:
                return []
            time.sleep(0.05)
        return [f"bare for {COVER_S} s after the fault healed: {self.ledger().position}"]

    def _unsettled(self, within_s: float) -> list[str]:
        assert self.bot is not None
        ends, trouble = time.monotonic() + within_s, ["not asked"]
        while trouble and time.monotonic() < ends:
            trouble = oracle.compare(self.exchange, LIMIT)
            if self.bot.process.poll() is not None:
                last = self.bot.out.read_text()[-600:]
                return [*trouble, f"the bot ended with {self.bot.process.returncode}: {last}"]
            facts = self.bot.control(do="status")
            if facts["unknown_orders"]:
                trouble.append(f"{facts['unknown_orders']} orders are unknown")
            if facts["blocked_by"]:
                trouble.append(f"blocked by {facts['blocked_by']}")
            time.sleep(0.2 if trouble else 0)
        return trouble

    def positions_agree(self, within_s: float = 5.0) -> list[str]:
        """The bot's own position against the exchange's, at a moment when both stand still."""
        assert self.bot is not None
        ends = time.monotonic() + within_s
        while True:
            before = self.ledger().position
            ours = Decimal(self.bot.control(do="status")["products"][0]["position"])
            if before == ours == self.ledger().position:
                return []
            if time.monotonic() > ends:
                return [f"we hold {before}, the bot believes {ours}"]
            time.sleep(0.05)


@contextlib.contextmanager
def arena(directory: Path, seed: int) -> Iterator[Arena]:
    """An exchange of its own; PERPCTL_STATE_DIR and PERPCTL_CONFIG_DIR must point to a place of its own."""
    place = Arena(directory, seed)
    place.open()
    try:
        yield place
    finally:
        place.close()
