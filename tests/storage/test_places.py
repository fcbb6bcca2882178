"""Where mailboxes lie, and that no name leads elsewhere."""

import errno
import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.name import numbered
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.storage.disk import Disk
from epost.storage.places import Places, escaped, origin

NAMES = st.text(min_size=1, max_size=64)


class Shut(Disk):
    """A disk with folders that may not be read, and files that may not be removed."""

    def __init__(self, *paths: str) -> None:
        super().__init__()
        self.paths = paths

    def names(self, path: str) -> list[str]:
        """As root's folder answers another user."""
        if path in self.paths:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return super().names(path)

    def unlink(self, path: str) -> None:
        """As what is in it does."""
        if path in self.paths:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        super().unlink(path)


class PlacesTests(SynchronousTestCase):
    """L{Places}."""

    def test_seed(self) -> None:
        """The seed's template; both separators, with and without the domain, any case."""
        for template, path in (
            ("inbox\\%USERNAME%", "/mail/inbox/user1"),
            ("inbox/%username%", "/mail/inbox/user1"),
            ("inbox\\%DOMAIN%\\%USERNAME%", "/mail/inbox/test.jp/user1"),
            ("./boxes\\u-%USERNAME%-x\\", "/mail/boxes/u-user1-x"),
            ("/var/mail/%USERNAME%", "/var/mail/user1"),
        ):
            self.assertEqual(Places("/mail", template).folders(Local("user1", "test.jp"))[-1], path)

    def test_wrongTemplates(self) -> None:
        """Templates that would mix mailboxes with each other or with the queue are refused."""
        for template in (
            "inbox",
            "",
            "%USERNAME%",
            "..\\%USERNAME%",
            "inbox\\..\\%USERNAME%",
            "incoming\\%USERNAME%",
            "hints/%USERNAME%",
            "serial.new/%USERNAME%",
        ):
            self.assertRaises(ValueError, Places, "/mail", template)

    def test_taken(self) -> None:
        """No name that docs/operate.md lists in the work folder can be that of the mailboxes, but their own."""
        page = (Path(__file__).parents[2] / "docs/operate.md").read_text("utf-8")
        block = page.partition("## The work folder\n\n")[2].partition("\n\n")[0]
        lines = [line.strip().partition("  ")[0] for line in block.splitlines()]
        names = {name.strip("/") for line in lines for name in line.split(", ")}
        self.assertGreater(len(names), 10)
        Places("/mail", "inbox/%USERNAME%")
        for name in names - {"inbox"}:
            self.assertRaises(ValueError, Places, "/mail", f"{name}/%USERNAME%")

    def test_escaped(self) -> None:
        """Odd characters are written as octets; ordinary names stay as they are."""
        for name, folder in (
            ("user.name+tag_1-2=3", "user.name+tag_1-2=3"),
            ("..", "%2e."),
            (".hidden", "%2ehidden"),
            ("a/b\\c\0d", "a%2fb%5cc%00d"),
            ("100%", "100%25"),
            ("%USERNAME%", "%25username%25"),
            ("受", "%e5%8f%97"),
            ("\udc8b", "%8b"),
        ):
            self.assertEqual(escaped(name), folder)

    @given(NAMES, NAMES)
    def test_noEscape(self, one: str, other: str) -> None:
        """No name leaves the folder, and no two users share one, on a file system that folds case either."""
        places = Places("/mail", "inbox\\%USERNAME%")
        try:
            path = places.folders(Local(one, "test.jp"))[-1]
        except Refused:
            return
        self.assertEqual(os.path.normpath(path), path)
        self.assertEqual(os.path.dirname(path), "/mail/inbox")
        self.assertEqual(path, path.lower())
        self.assertTrue(path.isascii() and path.isprintable())
        if one.lower() != other.lower():
            self.assertNotEqual(escaped(one), escaped(other))

    def test_tooLong(self) -> None:
        """A name that no file system takes is refused; the longest of RFC 5321 fits, whatever is in it."""
        places = Places("/mail", "inbox\\%USERNAME%")
        self.assertEqual(len(places.folders(Local("受" * 21, "x"))[-1]), len("/mail/inbox/") + 189)
        for user in ("", "x" * 256):
            self.assertEqual(self.assertRaises(Refused, places.folders, Local(user, "x")).reply.code, 550)

    def test_origin(self) -> None:
        """A file is ours by its name, whatever flags it has."""
        for text in ("B0000000186.MSG", "B0000000186.MSG:2,S"):
            self.assertEqual(origin(text), numbered(186))
        for text in ("B0000000186", "B0000000186.MSG2", "1246865254.M1P2.host:2,S", "B186.MSG"):
            self.assertIsNone(origin(text))

    def test_sweep(self) -> None:
        """At start what a crash left in tmp goes, if it is ours; the highest number of all mailboxes is told."""
        root = self.mktemp()
        for path in ("a.jp/user1/tmp", "a.jp/user1/new", "b.jp/bucho/cur", "b.jp/bucho/odd"):
            os.makedirs(f"{root}/inbox/{path}")
        for path in ("a.jp/user1/tmp/B0000000009.MSG", "a.jp/user1/tmp/1.2.host", "b.jp/bucho/cur/B0000000012.MSG:2,S"):
            with open(f"{root}/inbox/{path}", "w"):
                pass
        places = Places(root, "inbox\\%DOMAIN%\\%USERNAME%")
        unread: dict[str, OSError] = {}
        self.assertEqual(places.sweep(Disk(), unread), 12)
        self.assertEqual(os.listdir(f"{root}/inbox/a.jp/user1/tmp"), ["1.2.host"])
        self.assertEqual(Places(root, "none\\%USERNAME%").sweep(Disk(), unread), 0)
        self.assertEqual(unread, {})

    def test_unreadable(self) -> None:
        """A folder that cannot be read, of a mailbox or above some, is told; all others are looked through."""
        root = self.mktemp()
        box = f"{root}/inbox"
        for path in ("a.jp/user1/tmp", "a.jp/user1/new", "b.jp/bucho/cur", "c.jp/baito/new"):
            os.makedirs(f"{box}/{path}")
        for path, number in (("a.jp/user1/new", 9), ("b.jp/bucho/cur", 12), ("a.jp/user1/tmp", 4)):
            with open(f"{box}/{path}/{numbered(number)}.MSG", "w"):
                pass
        shut = Shut(f"{box}/b.jp/bucho/cur", f"{box}/c.jp", f"{box}/a.jp/user1/tmp/B0000000004.MSG")
        unread: dict[str, OSError] = {}
        self.assertEqual(Places(root, "inbox\\%DOMAIN%\\%USERNAME%").sweep(shut, unread), 9)
        self.assertEqual(set(unread), {f"{box}/b.jp/bucho/cur", f"{box}/c.jp"})
