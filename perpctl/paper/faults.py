"""This file is the fault plane: rules that make the paper exchange misbehave, by method and count, from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from perpctl.errors import UsageError

KINDS = {
    "delay": "hold the request back by `seconds` before the core sees it",
    "delay_answer": "execute at once, hold the answer back by `seconds`",
    "drop_before": "cut the connection before the core sees the request",
    "drop_after": "execute, then cut the connection instead of answering",
    "http_status": "answer HTTP `status` and `body` instead of executing",
    "error": "answer the JSON-RPC error `code` and `message` instead of executing",
    "expired_token": "refuse the access token once as expired",
    "duplicate": "send a notification twice",
    "reorder": "send a notification after the one that follows it",
    "gap": "lose a notification",
    "outage": "cut every connection and accept none",
}
REQUEST_KINDS = ("delay_answer", "drop_before", "drop_after", "http_status", "error", "expired_token")
NOTIFICATION_KINDS = ("duplicate", "reorder", "gap")


@dataclass(slots=True)
class Rule:
    """One misbehaviour. `method` is a pattern over method names, or over channels for notifications.

    It spares the first `skip` matches, then strikes `count` times (None: for ever), each with `probability`.
    """

    kind: str
    method: str = "*"
    count: int | None = 1
    skip: int = 0
    probability: float = 1.0
    seconds: float = 0.0
    status: int = 503
    body: str = ""
    code: int = 11094
    message: str = "internal_server_error"
    id: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown fault {self.kind!r}; known: {', '.join(KINDS)}")
        if not 0 <= self.probability <= 1 or self.seconds < 0 or not 100 <= self.status <= 599 or self.skip < 0:
            raise UsageError("probability is 0 to 1, seconds and skip are not negative, status is 100 to 599")


@dataclass(slots=True)
class Verdict:
    """What happens to one request."""

    delay_answer_s: float = 0.0
    drop_before: bool = False
    drop_after: bool = False
    expired_token: bool = False
    status: int | None = None
    body: str = ""
    error: tuple[int, str] | None = None


@dataclass(slots=True)
class FaultPlane:
    """The rules in force. Each strike draws from one seeded source, so a run can be repeated."""

    seed: int = 0
    struck: dict[int, int] = field(default_factory=dict)  # by the id of the rule, also of one that is over
    _rules: list[Rule] = field(default_factory=list)
    _next_id: int = 1
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable faults, not secrets

    @property
    def is_on(self) -> bool:
        """Whether any rule is in force."""
        return bool(self._rules)

    @property
    def outage(self) -> bool:
        """Whether the whole exchange is out of reach."""
        return self.is_on and any(rule.kind == "outage" for rule in self._rules)

    def add(self, rule: Rule) -> int:
        """Put a rule in force; returns its id."""
        rule.id, self._next_id = self._next_id, self._next_id + 1
        if rule.kind == "outage":
            rule.count = None
        self._rules.append(rule)
        return rule.id

    def clear(self, rule_id: int | None = None) -> int:
        """Take one rule, or all, out of force; returns how many were."""
        kept = [rule for rule in self._rules if rule_id is not None and rule.id != rule_id]
        removed = len(self._rules) - len(kept)
        self._rules = kept
        return removed

    def list(self) -> list[dict[str, Any]]:
        """The rules in force, oldest first."""
        return [asdict(rule) for rule in self._rules]

    def hold(self, method: str) -> float:
        """Seconds to wait before the request is served at all."""
        return sum(rule.seconds for rule in self._strikes(method, ("delay",))) if self._rules else 0.0

    def judge(self, method: str) -> Verdict:
        """What befalls this request; each rule that matches strikes."""
        verdict = Verdict()
        if not self._rules:
            return verdict
        for rule in self._strikes(method, REQUEST_KINDS):
            if rule.kind == "delay_answer":
                verdict.delay_answer_s += rule.seconds
            elif rule.kind == "http_status":
                verdict.status, verdict.body = rule.status, rule.body
            elif rule.kind == "error":
                verdict.error = (rule.code, rule.message)
            else:
                setattr(verdict, rule.kind, True)
        return verdict

    def shake(self, channel: str) -> str | None:
        """Whether the next notification of a channel is lost, doubled or delayed past the next: the kind, or None."""
        if not self._rules:
            return None
        return next((rule.kind for rule in self._strikes(channel, NOTIFICATION_KINDS)), None)

    def _strikes(self, name: str, kinds: Iterable[str]) -> Iterable[Rule]:
        for rule in list(self._rules):
            if rule.kind not in kinds or not fnmatchcase(name, rule.method):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if self._random.random() >= rule.probability:
                continue
            if rule.count is not None:
                rule.count -= 1
                if rule.count <= 0:
                    self._rules.remove(rule)
            self.struck[rule.id] = self.struck.get(rule.id, 0) + 1
            yield rule


def read_rule(raw: object) -> Rule:
    """A rule from decoded JSON. Raises UsageError for unknown members or wrong types."""
    members = [name for name in Rule.__dataclass_fields__ if name != "id"]
    if not isinstance(raw, dict) or not set(raw) <= set(members):
        raise UsageError(f"a fault is an object of {', '.join(members)}")
    try:
        return msgspec.convert(raw, Rule, strict=False)
    except msgspec.ValidationError as why:
        raise UsageError(f"this fault cannot be read: {why}") from why
