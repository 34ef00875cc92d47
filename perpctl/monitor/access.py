"""This file decides who may ask the local service for what: host, origin, token, and whose process is calling."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "[::1]")
ESTABLISHED, NO_INODE = "01", "0"
OWN_SITES = frozenset({"same-origin", "none"})
_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is not carried out; `status` is the HTTP status."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Caller:
    """A request as far as access goes; header names in lower case, `peer` and `port` of the TCP connection."""

    headers: Mapping[str, str]
    peer: tuple[str, int] | None
    port: int

    def uid(self) -> int | None:
        """Whose process is calling; None: not to be seen."""
        return None if self.peer is None else uid_of(*self.peer, self.port)


@dataclass(frozen=True, slots=True)
class Access:
    """`token` is for what raises risk; `uids` are those whose processes may lower it without one."""

    token: str
    uids: frozenset[int]

    def reading(self, caller: Caller) -> Refused | None:
        """Anything may be read by whoever names this machine: a page from elsewhere cannot."""
        host = caller.headers.get("host", "")
        if host.lower() not in {f"{name}:{caller.port}" for name in NAMES}:
            return Refused(421, f"this service is not called {host!r}")
        origin, site = caller.headers.get("origin"), caller.headers.get("sec-fetch-site")
        if origin is not None and origin.lower() not in {f"http://{name}:{caller.port}" for name in NAMES}:
            return Refused(403, "the request comes from a page that is not ours")
        if site is not None and site not in OWN_SITES:
            return Refused(403, "the request comes from a page that is not ours")
        return None

    def lowering(self, caller: Caller) -> Refused | None:
        """Without a token only for our own processes, and never for a browser."""
        if (refused := self.reading(caller)) is not None:
            return refused
        if self.has_token(caller):
            return None
        if "origin" in caller.headers or any(name.startswith("sec-fetch-") for name in caller.headers):
            return Refused(401, "a browser needs the token")
        uid = caller.uid()
        if uid is None or uid not in self.uids:
            return Refused(403, "the calling process is not this bot's user nor root, and brought no token")
        return None

    def raising(self, caller: Caller) -> Refused | None:
        """Only with the token."""
        if (refused := self.reading(caller)) is not None:
            return refused
        return None if self.has_token(caller) else Refused(401, "what raises risk needs the token of local_api.json")

    def has_token(self, caller: Caller) -> bool:
        """Whether it brought the token."""
        kind, _, given = caller.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())


def our_uids() -> frozenset[int]:
    """The user of this process, and root."""
    return frozenset({os.getuid(), 0})


def uid_of(host: str, port: int, to_port: int) -> int | None:
    """Whose process holds the local TCP connection from `host:port` to our `to_port`; None: not to be seen.

    The kernel's own table names the uid of every local socket (Linux, proc(5)). A socket that its process has closed
    shows uid 0 and no inode: it would pass for root's, so only an established one with an owner counts.
    """
    address = ip_address(host)
    if not address.is_loopback:
        return None
    wanted = f"{_kernel(address)}:{port:04X}"
    try:
        rows = _TABLES[address.version].read_text().splitlines()[1:]
    except OSError:
        return None
    for row in rows:
        columns = row.split()
        if len(columns) < 10 or columns[3] != ESTABLISHED or columns[9] == NO_INODE:
            continue
        if columns[1:3] == [wanted, f"{_kernel(address)}:{to_port:04X}"]:
            return int(columns[7])
    return None


def _kernel(address: IPv4Address | IPv6Address) -> str:
    """As the kernel writes it: words of four bytes, each in the order of the machine."""
    packed = address.packed
    return "".join(packed[at : at + 4][::-1].hex() for at in range(0, len(packed), 4)).upper()
