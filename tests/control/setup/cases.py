"""What the tests of setup have in common: a place, and the command run in it."""

import argparse
import io
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from epost.control.setup import command
from epost.control.terminal import common

PASSWORD = "正しい馬 battery staple"
GIVEN = ["--yes", "--stdin", "--domain", "test.jp", "--name", "mail.test.jp", "--account", "bucho"]


def parsed(*words: str) -> argparse.Namespace:
    """The options of a command line. @raise SystemExit: it is not understood."""
    parser = argparse.ArgumentParser(parents=[common()])
    command.register(parser.add_subparsers())
    parser.set_defaults(config=None, json=False)
    return parser.parse_args(["setup", *words])


class Case(SynchronousTestCase):
    """A place for what is written."""

    def setUp(self) -> None:
        # Not in the checkout: that may lie in /home, from which units are shut off.
        self.root = Path(tempfile.mkdtemp(prefix="epost-setup-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.etc = self.root / "etc"
        self.places = ["--folder", str(self.etc), "--data", str(self.root / "var")]

    def run_(self, *words: str, given: Iterable[str] = GIVEN, typed: str = PASSWORD + "\n") -> str:
        """What the command says. @param typed: what comes from standard input."""
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode()), "utf-8"))
        said = io.StringIO()
        with redirect_stdout(said):
            self.assertEqual(command.run(parsed(*given, *self.places, *words)), 0)
        return said.getvalue()

    def assertNothingWritten(self) -> None:
        """There is no file, and no folder either."""
        self.assertEqual(list(self.root.rglob("*")), [])
