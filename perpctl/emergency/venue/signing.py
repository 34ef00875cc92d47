"""This file signs in with a CDP key: by the `cryptography` package, or with the `openssl` program where it is missing.

The key's content is in no message and no argument list; `openssl` reads it from an anonymous file in memory.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perpctl.errors import CredentialError

_LARGEST = 64 << 10
_LIFE_S = 120
_ED25519_PREFIX = bytes.fromhex("302e020100300506032b657004220420")  # PKCS #8 of a bare seed
_OPENSSL_S = 5


@dataclass(frozen=True, slots=True)
class Key:
    """A CDP key as read from its file. The secret is left out of every representation."""

    name: str
    pem: bytes = field(repr=False)
    algorithm: str
    too_open: bool  # others may read the file: used all the same in an emergency, and said

    @property
    def short_id(self) -> str:
        return f"..{self.name[-4:]}"


def read_key(path: Path, named: str | None = None) -> Key:
    """The key in a CDP key file: JSON with ECDSA P-256 as PEM or Ed25519 as base64, or the bare PEM of `named`.

    Raises CredentialError.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_LARGEST)
        name, secret = _name_and_secret(text, named)
        pem, algorithm = _as_pem(str(secret).replace("\\n", "\n").replace("\r", "").strip())
        return Key(str(name), pem, algorithm, bool(mode & 0o077))
    except OSError as why:
        raise CredentialError(f"key file {path} cannot be read: {why.strerror}") from why
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CredentialError(f"key file {path} is not a CDP key file") from None


def _name_and_secret(text: bytes, named: str | None) -> tuple[str, str]:
    """What is in the file, as it stands in JSON; a bare PEM has no name of its own. Raises ValueError, KeyError."""
    if text.lstrip().startswith(b"-----BEGIN"):
        if named is None:
            raise ValueError("a bare PEM without a name")
        return named, text.decode()
    content = json.loads(text)
    return content.get("name") or content["id"], content["privateKey"]


def make_token(key: Key, now_s: float, uri: str | None = None) -> str:
    """A JWT; `now_s` is wall time as the venue sees it. Raises CredentialError.

    For one REST request with `uri` (METHOD host/path, no query); without it for what `public/auth` exchanges, as
    Coinbase's own SDK sends it.
    """
    header = {"alg": key.algorithm, "typ": "JWT", "kid": key.name, "nonce": os.urandom(16).hex()}
    claims: dict[str, object] = {"sub": key.name, "iss": "cdp", "nbf": int(now_s), "exp": int(now_s) + _LIFE_S}
    if uri is not None:
        claims["uri"] = uri
    signed = b".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return (signed + b"." + _base64(_signer()(key, signed))).decode()


def warm_up() -> None:
    """Load what signing needs, to be done while the network is waited for."""
    _signer()


def _signer() -> Callable[[Key, bytes], bytes]:
    try:
        import cryptography.hazmat.primitives.asymmetric.ec
        import cryptography.hazmat.primitives.serialization  # noqa: F401
    except Exception:  # noqa: BLE001 - absent, broken or built for another machine: the program does it then
        return _sign_by_program
    return _sign_by_package


def _as_pem(secret: str) -> tuple[bytes, str]:
    if secret.startswith("-----BEGIN"):
        return secret.encode() + b"\n", "ES256" if "EC PRIVATE KEY" in secret else _algorithm_in(secret)
    raw = base64.b64decode("".join(secret.split()), validate=True)
    if len(raw) not in (32, 64):
        raise ValueError("an Ed25519 key has 32 bytes, or 64 with its public half")
    body = base64.b64encode(_ED25519_PREFIX + raw[:32])
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\n", "EdDSA"


def _algorithm_in(pem: str) -> str:
    """PKCS #8 names its algorithm inside; a bare Ed25519 seed is the only thing as short as 48 bytes."""
    body = base64.b64decode("".join(line for line in pem.splitlines() if not line.startswith("-----")))
    return "EdDSA" if body.startswith(_ED25519_PREFIX) else "ES256"


def _sign_by_package(key: Key, signed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key.pem, password=None)
    except (ValueError, TypeError):
        raise CredentialError(f"the private key of {key.short_id} cannot be used") from None
    if isinstance(private, EllipticCurvePrivateKey):
        return _raw_of_der(private.sign(signed, ECDSA(SHA256())))
    if isinstance(private, Ed25519PrivateKey):
        return private.sign(signed)
    raise CredentialError(f"the private key of {key.short_id} is neither P-256 nor Ed25519")


def _sign_by_program(key: Key, signed: bytes) -> bytes:
    import subprocess

    with _MemoryFile(key.pem) as pem, _MemoryFile(signed) as text:
        if key.algorithm == "ES256":
            arguments = ["dgst", "-sha256", "-sign", pem.path, text.path]
        else:
            arguments = ["pkeyutl", "-sign", "-rawin", "-inkey", pem.path, "-in", text.path]
        try:
            done = subprocess.run(
                ["openssl", *arguments],  # noqa: S607 - wherever this host keeps it
                capture_output=True,
                timeout=_OPENSSL_S,
                pass_fds=(pem.descriptor, text.descriptor),
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as why:
            raise CredentialError(f"nothing can sign here: no cryptography package, and openssl: {why}") from why
    if done.returncode != 0:
        raise CredentialError(f"openssl could not sign with {key.short_id}")
    return _raw_of_der(done.stdout) if key.algorithm == "ES256" else done.stdout


class _MemoryFile:
    """Bytes as a file that has a path while it is open, and no name on any disk."""

    def __init__(self, content: bytes) -> None:
        self.descriptor = os.memfd_create("perpctl")
        os.write(self.descriptor, content)
        self.path = f"/dev/fd/{self.descriptor}"

    def __enter__(self) -> _MemoryFile:
        return self

    def __exit__(self, *why: object) -> None:
        os.close(self.descriptor)


def _raw_of_der(der: bytes) -> bytes:
    """An ECDSA signature as JWTs carry it (RFC 7518, 3.4): r and s, 32 bytes each."""
    first = der[4 : 4 + der[3]]
    second = der[6 + der[3] : 6 + der[3] + der[5 + der[3]]]
    return b"".join(part.lstrip(b"\0").rjust(32, b"\0") for part in (first, second))


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
