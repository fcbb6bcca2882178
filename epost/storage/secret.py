"""
A secret of a work folder, made when it is first needed and read ever after: C{srs.secret}, by which the reverse paths
of forwarded mail are signed.

One secret a line; the first signs, all are believed. Who wants a new one writes it above the old, and takes the old one
away when nothing that it signed counts any more. It is synced, name included, before it is used: what is signed by a
secret that a crash has taken could not be believed.
"""

from base64 import b64encode
from contextlib import suppress

from epost.storage.disk import IDisk
from epost.storage.durable import syncFolder

NAME = "srs.secret"

_OCTETS = 30
_MOST = 65536


def secrets(disk: IDisk, root: str, random: bytes) -> list[bytes]:
    """
    Read them, or make the first.

    @param root: the work folder.
    @param random: at least thirty octets that nobody knows, for a new one.
    @raise OSError: it cannot be read or made.
    @raise ValueError: the file is empty, or of the zeros that a power cut leaves, with which anybody could sign.
    """
    path = f"{root}/{NAME}"
    try:
        descriptor = disk.open(path)
    except FileNotFoundError:
        _make(disk, root, b64encode(random[:_OCTETS]) + b"\n")
        descriptor = disk.open(path)
    try:
        octets = disk.read(descriptor, _MOST, 0)
    finally:
        disk.close(descriptor)
    found = octets.split()
    if not found or b"\0" in octets:
        raise ValueError(f"{path} holds no secret: remove it, and one is made")
    return found


def _make(disk: IDisk, root: str, line: bytes) -> None:
    """Under another name first: what stands under its own is whole. @raise OSError: names the file."""
    path = f"{root}/{NAME}"
    with suppress(FileNotFoundError):
        disk.unlink(f"{path}.new")
    descriptor = disk.create(f"{path}.new")
    try:
        disk.write(descriptor, line)
        disk.fsync(descriptor)
    except OSError as error:
        with suppress(OSError):
            disk.unlink(f"{path}.new")
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        disk.close(descriptor)
    disk.rename(f"{path}.new", path)
    syncFolder(disk, root)
