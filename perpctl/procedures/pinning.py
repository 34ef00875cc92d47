"""This file binds a profile to the account that its key reaches now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.errors import RefusedBySafety
from perpctl.procedures import founding
from perpctl.profile import config_dir
from perpctl.results import Confirm, Done, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def pin(desk: Desk) -> Plan:
    """Write the account into the profile's configuration. Raises RefusedBySafety when another one is pinned there.

    The account is read with the key, never typed: a typing mistake would call another account flat.
    """
    name = desk.settings.profile
    exchange = await desk.market()
    identity = await exchange.identity()
    pinned = desk.settings.account
    if pinned is not None and pinned.id != identity.account_id:
        raise RefusedBySafety(
            f"profile {name} is pinned to account {pinned.id}, and its key reaches {identity.account_id}",
            not_done="the pin was left as it is",
            next_commands=(f"perpctl -p {name} auth test", f"perpctl -p {name} config show --origin"),
        )
    path = config_dir() / "config.toml"

    async def preview() -> str:
        return f"pin profile {name} to account {identity.account_id} in {path}"

    async def perform() -> StepResult:
        founding.add(path, founding.account_table(name, identity))
        return StepResult(Done.DONE, f"{path}: profile {name} = account {identity.account_id}")

    async def is_pinned() -> bool:
        scope = await desk.scope()
        return scope.pinned == "pinned"

    step = Step("pin", "pin account", preview, perform, is_pinned)
    return Plan("account pin", await desk.scope(), Risk.NONE, Confirm.YES, identity.account_id, (step,))
