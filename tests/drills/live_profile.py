"""A live profile whose venue is the paper exchange: what differs is only what differs with live money."""

from __future__ import annotations

import json
from typing import Any

from perpctl import profile

LIVE = "desk-a"


def write_live_profile(paper: dict[str, Any], **words: Any) -> None:
    """`words` are further settings of its table; without a `key_file` the environment has to name the key."""
    endpoints = {"http": paper["gateway_http"], "ws": paper["gateway_ws"], "streams": paper["gateway_streams"]}
    rows = {"risk_level": "conservative", "kill_scope": "account", **words}
    if paper.get("ca_file"):
        rows["ca_file"] = paper["ca_file"]
    tables = {"": rows, ".endpoints": endpoints, ".account": {"id": str(paper["account"]["id"])}}
    lines = []
    for name, table in tables.items():
        lines.append(f"[profiles.{LIVE}{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    profile.config_dir().mkdir(parents=True, exist_ok=True)
    (profile.config_dir() / "config.toml").write_text("\n".join([*lines, ""]))
