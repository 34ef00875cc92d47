"""This file keeps `identity.key`, the 32 bytes that tell our orders from others' and sign our receipts.

Standard library only: the emergency program reads it. It lives beside the user's configuration, not in the state, so
that orders of ours can still be recognised when the state is lost.
"""

from __future__ import annotations

import os
from pathlib import Path

from perpctl.errors import CredentialError

FILE_NAME = "identity.key"
LENGTH = 32


def read_identity_key(config_dir: Path) -> bytes | None:
    """The key; None when none was ever made. Raises CredentialError when it is unreadable, too open or cut short."""
    path = config_dir / FILE_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as why:
        raise CredentialError(f"{path} cannot be read: {why.strerror}") from why
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_mode & 0o077:
            raise CredentialError(f"{path} can be read by others", next_commands=(f"chmod 600 {path}",))
        key = file.read(LENGTH + 1)
    if len(key) != LENGTH:
        raise CredentialError(f"{path} holds {len(key)} bytes, not {LENGTH}")
    return key


def load_identity_key(config_dir: Path) -> bytes:
    """The key, made at first use. Raises CredentialError."""
    key = read_identity_key(config_dir)
    if key is not None:
        return key
    path = config_dir / FILE_NAME
    beside = config_dir / f".{FILE_NAME}.{os.getpid()}"
    try:
        config_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(os.urandom(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # the first of two at once wins, and nobody reads half a key
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    except OSError as why:
        raise CredentialError(f"{path} cannot be made: {why.strerror}") from why
    made = read_identity_key(config_dir)
    if made is None:
        raise CredentialError(f"{path} vanished while it was made")
    return made
