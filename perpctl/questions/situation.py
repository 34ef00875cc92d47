"""This file says what state we are in: mode, latch, bot, venue, and how old the read is; line two of every view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpctl.errors import StateDamaged
from perpctl.questions import figures
from perpctl.results import Json, Line, Tone
from perpctl.store.latch import LatchState, Mode
from perpctl.store.lease import Lease

if TYPE_CHECKING:
    from perpctl.desk import Desk


@dataclass(frozen=True, slots=True)
class Bot:
    """Who trades, from the lease; `alive` None when it cannot be told (another host)."""

    name: str | None
    pid: int | None
    host: str | None
    epoch: int | None
    alive: bool | None
    trouble: str | None = None

    @property
    def words(self) -> str:
        if self.trouble:
            return f"bot UNKNOWN ({self.trouble})"
        if self.name is None:
            return "bot none"
        state = {True: "alive", False: "GONE", None: "not seen from here"}[self.alive]
        return f"bot {self.name} {state}"


@dataclass(frozen=True, slots=True)
class Situation:
    """`source` says where the numbers come from and `age_s` how long ago."""

    latch: LatchState
    bot: Bot

    def line(self, source: str, age_s: float | None = None) -> Line:
        """The second line of a view."""
        read = "" if age_s is None else f", read {figures.age(age_s)} ago"
        text = f"mode {self.latch.mode.upper()}   {self.latch_words}   {self.bot.words}   source: {source}{read}"
        return Line(text, Tone.PLAIN if self.latch.mode is Mode.NORMAL else Tone.WARN)

    @property
    def latch_words(self) -> str:
        if self.latch.mode is Mode.NORMAL:
            return "latch off"
        by = f" by {self.latch.who}" if self.latch.who else ""
        return f'latch ON{by}: "{self.latch.why}"'

    @property
    def facts(self) -> dict[str, Json]:
        """For JSON."""
        return {
            "mode": self.latch.mode.value,
            "latch": {
                "cause": self.latch.cause,
                "who": self.latch.who,
                "why": self.latch.why,
                "risk": self.latch.risk,
                "kill_id": self.latch.kill_id,
                "at_ms": self.latch.at_ms,
            },
            "bot": {
                "name": self.bot.name,
                "pid": self.bot.pid,
                "host": self.bot.host,
                "epoch": self.bot.epoch,
                "alive": self.bot.alive,
                "trouble": self.bot.trouble,
            },
        }


def read(desk: Desk) -> Situation:
    """From the files of the profile, as they are now."""
    return Situation(desk.latch().read(), _bot(desk))


def _bot(desk: Desk) -> Bot:
    try:
        lease = Lease.read(desk.settings.state_dir / "lease")
    except StateDamaged as why:
        return Bot(None, None, None, None, None, trouble=why.message)
    if lease is None or lease.released:
        return Bot(None, None, None, None if lease is None else lease.epoch, False)
    alive = lease.holder_lives()
    if alive and lease.has_lapsed():
        return Bot(lease.holder, lease.pid, lease.host, lease.epoch, True, trouble=f"{lease.holder} stopped renewing")
    return Bot(lease.holder, lease.pid, lease.host, lease.epoch, alive)
