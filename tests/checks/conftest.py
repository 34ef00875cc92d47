"""The exchange that stands still, for the gates."""

from tests.commands.conftest import _still_server, stage

__all__ = ["_still_server", "stage"]
