"""Tests of L{epost.control.main}: the command as a whole, and its page."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from epost.control import terminal
from epost.control.account.keys import KEYS
from epost.control.main import GROUPS, parser
from tests.control.places import ShellTestCase

ROOT = Path(__file__).parents[2]


def commands(made: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands below a parser, by name."""
    found = {}
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


class PageTests(ShellTestCase):
    """docs/commands.md is the whole of it."""

    def test_everything(self) -> None:
        """Each command of accounts, each option and each key stands there, and no command that is none."""
        page = (ROOT / "docs/commands.md").read_text("utf-8")
        account = commands(commands(parser())["account"])
        for name, made in account.items():
            self.assertRegex(page, rf"\| `{name}\b")
            for option in made._option_string_actions:
                if option not in ("-h", "--help"):
                    self.assertIn(f"`{option}", page)
        for key in KEYS:
            self.assertIn(f"`{key}`", page)
        self.assertLessEqual(set(re.findall(r"^    epost account (\w+)", page, re.MULTILINE)), set(account))
        self.assertEqual(len(GROUPS), len(commands(parser())))


class MainTests(ShellTestCase):
    """Run from outside."""

    def epost(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command as a process."""
        clean = {name: value for name, value in os.environ.items() if name not in ("EPOST_CONFIG", "LANG", "LC_ALL")}
        return subprocess.run(
            [sys.executable, "-m", "epost.control.main", *words],
            env=clean | {"PYTHONPATH": str(ROOT)} | environment,
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )

    def test_configuration(self) -> None:
        """It is named by an option at either place, by the environment, or found below the folder one is in."""
        config = str(self.folder / "backend.toml")
        for words in (["-c", config, "account", "list"], ["account", "list", "--config", config]):
            self.assertEqual(self.epost(*words).returncode, 0)
        self.assertEqual(self.epost("account", "list", EPOST_CONFIG=config).returncode, 0)
        done = self.epost("account", "list")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("which configuration?", done.stderr)

    def test_installedFirst(self) -> None:
        """In a checkout on the machine of a server that one is meant, not the samples."""
        self.patch(os, "environ", {})
        self.patch(os.path, "exists", lambda path: path in ("etc/backend.toml", "/etc/epost/backend.toml"))
        self.assertEqual(terminal.config(argparse.Namespace(config=None)), "/etc/epost/backend.toml")
        self.patch(os.path, "exists", lambda path: path == "etc/backend.toml")
        self.assertEqual(terminal.config(argparse.Namespace(config=None)), "etc/backend.toml")

    def test_terminalOfAnotherKind(self) -> None:
        """A terminal that cannot show a name gets it in other words; no failure."""
        self.good("set", "user1", "name=山田")
        done = self.epost("-c", str(self.folder / "backend.toml"), "account", "list", PYTHONIOENCODING="ascii")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("\\u5c71", done.stdout)

    def test_whoReadsHasEnough(self) -> None:
        """A pipe that is closed is no traceback."""
        config = str(self.folder / "backend.toml")
        self.write("accounts.dat", "bucho\tx\nbaito\tx\n" + "".join(f"u{n}\tx\n" for n in range(20000)))
        code = f"{sys.executable} -m epost.control.main -c {config} account list | head -1"
        done = subprocess.run(
            code,
            shell=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        self.assertEqual((done.stdout.strip(), done.stderr), ("bucho@test.jp", ""))
