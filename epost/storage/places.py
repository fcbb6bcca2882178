"""
Where mailboxes lie: a template of the configuration, and user names that must not lead out of it.

    inbox\\%USERNAME%              C{\\} and C{/} both separate; relative to the work folder
    inbox\\%DOMAIN%\\%USERNAME%     for installations that keep domains apart

In a folder's name stand a-z, 0-9 and C{. _ - + =} as they are; every other octet of the user's name, and a dot at its
begin, is written as C{%} and two hex digits. So no name leads elsewhere, and no two users share a folder, on file
systems that fold case or normalize Unicode either. Spec 2.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile

from epost.mail.name import Name, parseName
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local
from epost.storage.disk import IDisk

SUFFIX = ".MSG"
FOLDERS = ("new", "cur", "tmp")  # as they are made: what is taken back begins with the one in which others may be
NO_BOX = Reply(550, ("mailbox unavailable",), "5.1.1")

# What else is in the work folder: of the queue, and of epost.login.desk.
_QUEUE = ("incoming", "holding", "dead", "senderlog", "receivelog", "serial", "hints", "lock", "srs.secret")
_LOGIN = ("unlock", "locked", "login.key")
_PLACEHOLDER = re.compile("%(?:USERNAME|DOMAIN)%", re.IGNORECASE)
_ODD = re.compile(rb"[^a-z0-9._+=-]|^\.")


def escaped(name: str) -> str:
    """One component of a path, for any user or domain. @param name: lower case."""
    octets = name.lower().encode("utf-8", "surrogateescape")
    return _ODD.sub(lambda odd: b"%%%02x" % odd[0][0], octets).decode("ascii")


def origin(text: str) -> Name | None:
    """The name of a message by its file in C{tmp}, C{new} or C{cur}, whatever flags stand behind; L{None}: not ours."""
    found, suffix, flags = text.partition(SUFFIX)
    return parseName(found) if suffix and flags[:1] in ("", ":") else None


class Places:
    """
    The folders of all mailboxes.

    @param root: the work folder.
    @param template: as configured.
    @raise ValueError: the template would mix mailboxes with each other or with the queue; the text says why.
    """

    def __init__(self, root: str, template: str) -> None:
        plain = template.replace("\\", "/")
        components = [component for component in plain.split("/") if component not in ("", ".")]
        fixed = [c for c in components if not _PLACEHOLDER.search(c)]
        if "%USERNAME%" not in plain.upper():
            raise ValueError(f"{template}: without %USERNAME% all users would share one mailbox")
        if ".." in components:
            raise ValueError(f"{template}: a mailbox may not lie above its folder")
        if _PLACEHOLDER.search(components[0]):
            raise ValueError(f"{template}: a folder of its own must stand first, like inbox\\%USERNAME%")
        if not plain.startswith("/") and fixed[0].lower().removesuffix(".new") in (*_QUEUE, *_LOGIN):
            raise ValueError(f"{template}: {fixed[0]} is taken")
        self.base = "/" if plain.startswith("/") else root
        self._components = components

    def folders(self, box: Local) -> list[str]:
        """
        All folders on the way to a mailbox, the outermost first, the mailbox last.

        @raise Refused: it can have none (550).
        """
        if not box.user:
            raise Refused(NO_BOX)
        values = {"%USERNAME%": escaped(box.user), "%DOMAIN%": escaped(box.domain)}
        path, found = self.base.rstrip("/"), []
        for component in self._components:
            # One pass: what a user is called is not looked through for placeholders.
            name = _PLACEHOLDER.sub(lambda placeholder: values[placeholder[0].upper()], component)
            if len(name) > 255:
                raise Refused(NO_BOX)
            path = f"{path}/{name}"
            found.append(path)
        return found

    def fixed(self) -> str:
        """The folder that holds all mailboxes: as far as the template has no placeholder."""
        names = list(takewhile(lambda component: not _PLACEHOLDER.search(component), self._components))
        return "/".join([self.base.rstrip("/"), *names])

    def boxes(self, disk: IDisk, unread: dict[str, OSError]) -> Iterator[str]:
        """The mailboxes that stand. @param unread: gets the folders above them that cannot be read."""

        def below(path: str, rest: list[str]) -> Iterator[str]:
            if not rest:
                yield path
            elif not _PLACEHOLDER.search(rest[0]):
                yield from below(f"{path}/{rest[0]}", rest[1:])
            else:
                shape = "(?:.*)".join(map(re.escape, _PLACEHOLDER.split(rest[0])))
                for name in _names(disk, path or "/", unread):
                    if re.fullmatch(shape, name):
                        yield from below(f"{path}/{name}", rest[1:])

        yield from below(self.base.rstrip("/"), self._components)

    def sweep(self, disk: IDisk, unread: dict[str, OSError]) -> int:
        """
        At start: remove what a crash left of ours in C{tmp} of every mailbox.

        It costs a listing of every mailbox, about a second for a million messages, and no stat.

        @param unread: gets the folders that cannot be read, and why: what numbers are in them is not known.
        @return: the highest message number in all other mailboxes; 0 where there is none.
        """
        highest = 0
        for path in self.boxes(disk, unread):
            for folder in FOLDERS:
                for text in _names(disk, f"{path}/{folder}", unread):
                    name = origin(text)
                    if name is not None:
                        highest = max(highest, name.number)
                        if folder == "tmp":
                            with suppress(OSError):  # it is in nobody's way: a number is not used twice
                                disk.unlink(f"{path}/{folder}/{text}")
        return highest


def _names(disk: IDisk, path: str, unread: dict[str, OSError]) -> list[str]:
    """All names in a folder; none where there is no folder, or it cannot be read."""
    try:
        return disk.names(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        unread[path] = error
    return []
