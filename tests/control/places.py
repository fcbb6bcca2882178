"""
A back-end's configuration in a folder of its own, and the command run on it as a shell would run it.
"""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from epost import loading
from epost.control import main
from epost.login import schemes
from epost.mail.address import parseAddress
from epost.settings import Settings
from epost.tables.accounts import Account
from epost.tables.directory import Directory

CONFIG = """[server]
name = "test.jp"
folder = "work"
listen = ["tcp:2525:interface=127.0.0.1"]
[domains]
local = ["test.jp"]
accounts = "accounts.dat"
details = "accounts.toml"
postmaster = "bucho@test.jp"
[mailboxes]
place = 'inbox\\%USERNAME%'
"""

ACCOUNTS = """' Who is who
bucho	pass1234		test.jp
' from here on beginners
user1	pass1234		test.jp		1	0	1000
baito	pass1234		test.jp
"""

DETAILS = """# what they may do

["baito@test.jp"]
outside = false   # inside only

# the end
"""


class Input(io.TextIOWrapper):
    """Standard input. @ivar terminal: whether it says that it is one."""

    terminal = False

    def isatty(self) -> bool:
        """Whether somebody types."""
        return self.terminal


class ShellTestCase(SynchronousTestCase):
    """Runs commands. Passwords are hashed at the least cost there is."""

    def setUp(self) -> None:
        """A back-end with three accounts."""
        self.folder = self.place()
        self.folder.mkdir(exist_ok=True)
        self.write("backend.toml", CONFIG)
        self.write("accounts.dat", ACCOUNTS)
        self.write("accounts.toml", DETAILS)
        self.said = self.remarked = ""
        self.terminal = False
        self.patch(schemes, "SCRYPT", {"ln": 1, "r": 1, "p": 1})
        self.patch(schemes, "ITERATIONS", 4096)

    def place(self) -> Path:
        """The folder of the configuration."""
        return Path(self.mktemp()).absolute()

    def write(self, name: str, text: str | bytes) -> None:
        """Write a file of the configuration."""
        (self.folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def octets(self, name: str = "accounts.dat") -> bytes:
        """What stands in a file of the configuration."""
        return (self.folder / name).read_bytes()

    def run_(self, *words: str, stdin: bytes = b"") -> int:
        """Run C{epost} with words behind it. What it prints is in C{said} and C{remarked}."""
        given = Input(io.BytesIO(stdin))
        given.terminal = self.terminal
        self.patch(sys, "stdin", given)
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = main.main(["-c", str(self.folder / "backend.toml"), *words])
        out.flush()
        self.printed = out.buffer.getvalue()  # type: ignore[attr-defined]
        self.said, self.remarked = self.printed.decode("utf-8", "replace"), err.getvalue()
        return status

    def good(self, *words: str, stdin: bytes = b"") -> str:
        """Run C{epost account} with words behind it, which must go well. @return: what it prints."""
        self.assertEqual(self.run_("account", *words, stdin=stdin), 0, self.remarked + self.said)
        return self.said

    def asked(self, *words: str, stdin: bytes = b"") -> Any:
        """The same with C{--json}. @return: what was printed."""
        return json.loads(self.good(*words, "--json", stdin=stdin))

    def refused(self, *words: str, stdin: bytes = b"") -> str:
        """Run C{epost account}, which must change nothing, leave nothing behind and end with 1. @return: its words."""
        before = self.state()
        self.assertEqual(self.run_("account", *words, stdin=stdin), 1, self.remarked + self.said)
        self.assertEqual(self.state(), before)
        self.assertEqual(self.said, "")
        return self.remarked

    def state(self) -> dict[str, bytes]:
        """All files of the configuration but the lock."""
        return {
            path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file() and "lock" not in path.name
        }

    def load(self) -> tuple[Settings, Directory]:
        """What a daemon that starts now reads. @raise ConfigError: it would not start."""
        return loading.load(str(self.folder / "backend.toml"), "backend")

    def account(self, name: str) -> Account:
        """An account, which must be there."""
        found = self.load()[1].accounts.find(parseAddress(name if "@" in name else f"{name}@test.jp"))
        assert found is not None, name
        return found

    def proves(self, name: str, password: str) -> bool:
        """Whether a password is an account's."""
        return schemes.read(self.account(name).secret).verify(schemes.octets(password))
