"""Tests of L{epost.control.setup.advice}: what is said at the end."""

import json
from pathlib import Path

from epost.control.setup import texts
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

    def test_json(self) -> None:
        """The same for programs."""
        told = json.loads(self.run_("--json"))
        self.assertEqual({Path(path).name for path in told["files"]}, set(texts.NAMES))
        self.assertTrue(told["records"] and told["commands"] and told["clients"])
        self.assertNotIn(PASSWORD, json.dumps(told, ensure_ascii=False))
