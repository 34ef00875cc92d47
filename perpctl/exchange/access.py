"""This file says where a venue is and with which key it is entered."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from perpctl.exchange.port import Identity

GLOBAL_HTTP = "https://drb.coinbase.com/api/v2"
GLOBAL_WS = "wss://drb.coinbase.com/ws/api/v2"
GLOBAL_STREAMS = "wss://streams.drb.coinbase.com/ws/api/v2"
US_REST = "https://api.coinbase.com/api/v3/brokerage"
US_WS_USER = "wss://advanced-trade-ws-user.coinbase.com"
US_WS_MARKET = "wss://advanced-trade-ws.coinbase.com"
PUBLIC = {
    "global": (GLOBAL_HTTP, GLOBAL_WS, GLOBAL_STREAMS),
    "us": (US_REST, US_WS_USER, US_WS_MARKET),
}
"""By venue: HTTP, the socket of what is ours, the socket of the market."""


class Access(Struct, frozen=True):
    """Addresses, key and trust of one profile. `key_file` None: public methods only; `ca_file` None: the system's.

    `key_name` names the key in a file that is a bare PEM. `first_pause_s`: the longest wait before a read is repeated.
    """

    http: str = GLOBAL_HTTP
    ws: str = GLOBAL_WS
    streams: str = GLOBAL_STREAMS
    key_file: Path | None = None
    ca_file: Path | None = None
    account_pin: Identity | None = None
    key_name: str | None = None
    first_pause_s: float | None = None
