"""Tests of L{epost.control.setup.advice}: what is said at the end."""

import json
import os
from pathlib import Path

from epost.control.setup import texts, writing
from tests.control.setup.cases import PASSWORD, Case


class SaidTests(Case):
    """What is said."""

    def test_records(self) -> None:
        """MX, addresses and SPF for the name and the domain; no key of DKIM, as nothing is signed yet."""
        said = self.run_()
        for expression in (
            r"test\.jp\. +MX +10 mail\.test\.jp\.",
            r"mail\.test\.jp\. +A +",
            r'"v=spf1 mx -all"',
            "PTR",
        ):
            self.assertRegex(said, expression)
        self.assertNotIn("dkim", said.lower())

    def test_smarthost(self) -> None:
        """Who hands mail to a provider needs the provider's SPF."""
        self.assertIn("v=spf1 mx include:", self.run_("--smarthost", "smtp.isp.example"))

    def test_twoMachines(self) -> None:
        """Each machine starts its own half, and what the gateway needs of here is named, its unit too."""
        addresses = ("--backend", "192.168.0.102", "--gateway", "192.168.0.103")
        self.patch(writing, "owner", lambda user: None)
        (self.root / "system").mkdir()
        here, there = self.run_(*addresses, "--systemd", str(self.root / "system")).split("And on the gateway's")
        self.assertIn("enable --now epost-backend\n", here)
        self.assertIn("192.168.0.103", there)
        self.assertIn("enable --now epost-gateway\n", there)
        self.assertRegex(there, r"gateway\.toml, .*key\.pem go to .*system/epost-gateway\.service")

    def test_oneMachine(self) -> None:
        """Where there is one it starts both."""
        said = self.run_()
        self.assertIn("epost-backend --config", said)
        self.assertIn("epost-gateway --config", said)
        self.assertNotIn("And on the gateway's", said)
        self.assertNotIn("--uid", said)

    def test_user(self) -> None:
        """Where root has given the files to another user the daemons are started to become that one."""
        self.patch(writing, "owner", lambda user: (os.geteuid(), os.getegid()))
        said = self.run_("--user", "epost")
        self.assertEqual(said.count("twistd --uid epost --pidfile="), 2)

    def test_rights(self) -> None:
        """Who is not root is told that he cannot listen on the usual ports, and what he can do."""
        self.patch(os, "geteuid", lambda: 1000)
        self.assertIn("ports 25, 465, 587 need root", self.run_())

    def test_rightsEnough(self) -> None:
        """Nor root, nor who takes other ports, needs to be told."""
        ports = ("--port", "2526", "--submission-port", "2587", "--tls-port", "2465")
        self.patch(os, "geteuid", lambda: 1000)
        self.assertNotIn("need root", self.run_(*ports))

    def test_json(self) -> None:
        """The same for programs."""
        told = json.loads(self.run_("--json"))
        self.assertEqual({Path(path).name for path in told["files"]}, set(texts.NAMES))
        self.assertTrue(told["records"] and told["commands"] and told["clients"])
        self.assertNotIn(PASSWORD, json.dumps(told, ensure_ascii=False))
