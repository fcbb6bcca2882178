"""Tests of L{epost.control.setup.units}: the units of systemd."""

import io
import sys
from dataclasses import replace
from typing import Any

from epost.control.setup import answers, units, writing
from epost.control.setup.plan import Plan
from epost.control.terminal import Failure
from tests.control.setup.cases import GIVEN, Case, parsed
from tests.system.pair import ROOT


class UnitTests(Case):
    """The units of systemd."""

    def plan(self, **changed: Any) -> Plan:
        """A plan in the usual places."""
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\n"), "utf-8"))
        plan = answers.answered(parsed(*GIVEN, *self.places))
        usual = {"folder": "/etc/epost", "data": "/var/lib/epost", "twistd": "/opt/epost/bin/twistd"}
        return replace(plan, **(usual | changed))

    def test_asInTheSource(self) -> None:
        """In the usual places they are those of etc/systemd, to the letter."""
        for half in ("backend", "gateway"):
            sample = (ROOT / f"etc/systemd/epost-{half}.service").read_text("utf-8")
            self.assertEqual(units.unit(self.plan(), half, "epost"), sample)
            self.assertIn("\nStateDirectory=epost\nStateDirectoryMode=0700\n", sample)

    def test_elsewhere(self) -> None:
        """In other places they name these, and may write there."""
        unit = units.unit(self.plan(folder="/srv/e", data="/srv/v", twistd="/x/twistd"), "gateway", "mail")
        for line in (
            "User=mail",
            "ReadWritePaths=/srv/v",
            "ExecStart=/x/twistd --nodaemon --pidfile= epost-gateway --config /srv/e/gateway.toml",
        ):
            self.assertIn(f"\n{line}\n", unit)
        self.assertNotIn("StateDirectory", unit)

    def test_home(self) -> None:
        """The units cannot reach into homes, and that is said before anything is written."""
        self.places = ["--folder", "/home/nobody-has-this/etc", "--data", "/home/nobody-has-this/var"]
        self.patch(writing, "owner", lambda user: None)
        with self.assertRaisesRegex(Failure, "shut the daemons off from /home"):
            self.run_("--systemd", str(self.root))
        self.assertNothingWritten()
