"""A new live profile: the account that its key reaches is pinned, then it is written to the user's configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perpctl import config_file, settings
from perpctl.desk import Desk
from perpctl.errors import StateDamaged, UsageError
from perpctl.exchange.port import Identity
from perpctl.profile import Endpoints, Profile, chosen, config_dir, config_files, state_root
from perpctl.results import Confirm, Done, Plan, Risk, Step, StepResult
from perpctl.store.snapshot import BUILT_IN

Words = Mapping[str, Path | str | None]


@dataclass(frozen=True, slots=True)
class NewProfile:
    """A profile as it was described, not yet written; `words` are its settings but for the account."""

    profile: Profile
    words: Mapping[str, str]
    endpoints: Mapping[str, str]

    @classmethod
    def of(cls, name: str, venue: str, words: Words, endpoints: Words) -> NewProfile:
        """Raises UsageError: the name is taken or no name, or only some of the addresses are given."""
        if name in BUILT_IN or name in config_file.profiles(config_files()):
            raise UsageError(f"profile {name} exists already", not_done="nothing was written")
        given = {key: str(value) for key, value in endpoints.items() if value is not None}
        if given and len(given) != len(endpoints):
            raise UsageError(f"{', '.join(endpoints)} are given together or not at all", not_done="nothing was written")
        plain = {
            key: str(value.expanduser().absolute()) if isinstance(value, Path) else value
            for key, value in words.items()
            if value is not None
        }
        profile = Profile(
            profile=chosen(name),
            env="live",
            venue=venue,
            state_dir=state_root() / name,
            key_file=Path(plain["key_file"]),
            ca_file=Path(plain["ca_file"]) if "ca_file" in plain else None,
            endpoints=Endpoints(**given) if given else None,
        )
        return cls(profile, plain, given)

    async def plan(self, desk: Desk) -> Plan:
        """Reads the account that answers to the key; the only step writes the profile pinned to it."""
        exchange = await desk.exchange()
        identity = await exchange.identity()
        text = self._table(identity)
        path = config_dir() / "config.toml"

        async def preview() -> str:
            return f"add [profiles.{self.profile.profile}], pinned to account {identity.account_id}, to {path}"

        async def perform() -> StepResult:
            add(path, text)
            settings.load(self.profile.profile)
            return StepResult(Done.DONE, f"{path}; account {identity.account_id} pinned; settings hold")

        step = Step("write", "write profile", preview, perform)
        fingerprint = f"{identity.account_id}:{text}"
        scope = await desk.scope()
        return Plan("config init", scope, Risk.NONE, Confirm.NONE, fingerprint, (step,))

    def _table(self, identity: Identity) -> str:
        name = self.profile.profile
        lines = [f"[profiles.{name}]", 'env = "live"', f'venue = "{self.profile.venue}"']
        lines += [f"{key} = {_quoted(value)}" for key, value in self.words.items()]
        lines += ["", account_table(name, identity).rstrip()]
        if self.endpoints:
            lines += ["", f"[profiles.{name}.endpoints]"]
            lines += [f"{key} = {_quoted(value)}" for key, value in self.endpoints.items()]
        return "\n".join(lines) + "\n"


def scope_asked(ask: Callable[[str], str] | None) -> str:
    """Whose orders and positions a kill takes: nobody is to learn that from the kill. Raises UsageError."""
    given = "" if ask is None else ask("A kill takes everything that the key reaches, or ours alone [account/ours]?")
    if given in ("account", "ours"):
        return given
    raise UsageError(
        "--kill-scope is not said: account takes everything that the key reaches, whoever made it; ours what is ours",
        not_done="nothing was written",
        next_commands=("perpctl config init NAME --key-file FILE --kill-scope account",),
    )


def account_table(profile: str, identity: Identity) -> str:
    """The part of the configuration that pins a profile."""
    lines = [f"[profiles.{profile}.account]", f"id = {_quoted(identity.account_id)}"]
    if identity.username is not None:
        lines.append(f"username = {_quoted(identity.username)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def add(path: Path, text: str) -> None:
    """Append to the configuration, whole or not at all. Raises StateDamaged."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = path.read_text() if path.exists() else ""
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{before.rstrip()}\n\n{text}" if before.strip() else text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as why:
        beside.unlink(missing_ok=True)
        raise StateDamaged(f"{path} could not be written: {why.strerror}", not_done="no profile was added") from why
