"""
What the tests of the doctor have in common: configurations, and what is expected of findings.

Servers are small fakes with real sockets; the DNS is a zone on a loopback port.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from epost import __version__, loading
from epost.control.doctor.finding import Finding, State
from epost.control.doctor.pair import Half
from epost.mail.trace import date
from tests.system.pair import Sections, toml

OK, REMARK, WRONG = State.OK, State.REMARK, State.WRONG
HASTE = 0.2  # seconds of patience with a server that says nothing
OUTER = "11.22.33.44"  # an address that could be anybody's; nothing is sent there
NOBODY = 65534

BACKEND: Sections = {
    "server": {"name": "test.jp", "folder": "backend", "listen": ["tcp:2525:interface=127.0.0.1"]},
    "domains": {"local": ["test.jp"], "accounts": "accounts.dat", "postmaster": "bucho@test.jp"},
    "mailboxes": {"place": "inbox/%USERNAME%"},
    "relay": {"gateway": "127.0.0.1:2526", "networks": ["127.0.0.1"], "gateways": ["127.0.0.1"]},
}
GATEWAY: Sections = {
    "server": {
        "name": "mx.test.jp",
        "folder": "gateway",
        "listen": ["tcp:2526:interface=127.0.0.1"],
        "postmaster": "postmaster@test.jp",
    },
    "tables": {"effect": "effect.dat", "gateway": "gateway.dat"},
}
TABLES = {
    "accounts.dat": "bucho\tx\t\ttest.jp\nbaito\tx\t\ttest.jp\n",
    "effect.dat": "#<> default\nbaito@test.jp false\n127.0.0.1 true\n",
    "gateway.dat": "test.jp, 127.0.0.1, 2525\n",
}


class Case(SynchronousTestCase):
    """Configurations in a folder of their own, and what is expected of findings."""

    def half(self, kind: str, texts: "dict[str, str] | None" = None, **changed: dict[str, Any]) -> Half:
        """A half. @param texts: tables that differ. @param changed: sections that differ."""
        folder = Path(self.mktemp())
        folder.mkdir()
        base = BACKEND if kind == "backend" else GATEWAY
        merged = {name: {**base.get(name, {}), **changed.get(name, {})} for name in {**base, **changed}}
        (folder / f"{kind}.toml").write_text(toml(merged), "utf-8")
        for name, text in {**TABLES, **(texts or {})}.items():
            (folder / name).write_text(text, "utf-8")
            (folder / name).chmod(0o600)
        return Half(*loading.load(str((folder / f"{kind}.toml").absolute()), kind))

    def assertFound(self, found: Iterable[Finding], state: State, expression: str, mend: str = ".*") -> None:
        """Exactly one finding of this state is there, and says this."""
        said = [finding for finding in found if finding.state is state]
        self.assertEqual(len(said), 1, "\n".join(map(str, found)))
        self.assertRegex(said[0].text, expression)
        self.assertRegex(said[0].mend, mend)
        if state is WRONG:
            self.assertTrue(said[0].mend)

    def assertAllOk(self, found: Iterable[Finding]) -> None:
        """Something was looked at, and all of it is right."""
        self.assertEqual({finding.state for finding in found}, {OK}, "\n".join(map(str, found)))


def greeting(name: str = "test.jp", version: str = __version__, when: float | None = None) -> str:
    """The greeting of an epost."""
    stamp = date(time.time() if when is None else when)
    return f"220 {name} E-POST ESMTP Receiver ({version}) Bld:EPOST {stamp}"
