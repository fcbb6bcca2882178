"""Tests of L{epost.control.setup.answers}: what is taken, what is asked."""

import builtins
import io
import sys

from epost import loading
from epost.control.setup import answers
from epost.control.terminal import Failure
from epost.mail.route import Hop
from tests.control.setup.cases import GIVEN, Case


class RefusedTests(Case):
    """What cannot be."""

    def test_flags(self) -> None:
        """A flag that is wrong ends with 2, as any wrong command line, and makes nothing."""
        for words in (
            ("--domain", "no domain"),
            ("--domain", "192.168.0.102"),
            ("--name", "192.168.0.102"),
            ("--name", "mail"),
            ("--network", "*"),
            ("--network", "0.0.0.0/0"),
            ("--network", "192.168.0.1/24"),
            ("--backend", "mail.test.jp"),
            ("--port", "70000"),
            ("--smarthost", "a:b:c"),
        ):
            said = io.StringIO()
            self.patch(sys, "stderr", said)
            with self.assertRaises(SystemExit) as end:
                self.run_(*words)
            self.assertEqual(end.exception.code, 2, words)
            self.assertIn(words[1], said.getvalue())
            for twice in (": ,", f"{words[1]}: no domain name: "):  # what the form says of it already, or does not say
                self.assertNotIn(twice, said.getvalue())
        self.assertNothingWritten()

    def test_hostBits(self) -> None:
        """An address with the length of its network says which of the two may be meant."""
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        with self.assertRaises(SystemExit):
            self.run_("--network", "192.168.0.5/24")
        self.assertIn("perhaps 192.168.0.0/24, or 192.168.0.5 for one machine", said.getvalue())

    def test_together(self) -> None:
        """What is wrong only in view of another answer is told, and makes nothing."""
        for words, why in (
            (("--name", "test.jp"), "a name of its own"),
            (("--account", "bucho@other.jp"), "is of other.jp, not of test.jp"),
            (("--account", "no one"), "no one: no local part$"),
            (("--backend", "192.168.0.102"), "--yes nothing is asked.*Address of the gateway.*: --gateway"),
            (("--port", "587"), "port 587 is --port and --submission-port at once"),
            (("--inner-port", "25"), "port 25 is --port and --inner-port at once"),
            (
                ("--backend", "10.0.0.1", "--gateway", "10.0.0.2", "--tls-port", "25"),
                "port 25 is --inner-port and --tls-",
            ),
            (("--config", "x.toml"), "setup reads no configuration"),
            (("--systemd", str(self.root / "system")), "system is not there"),
            (("--backend", "10.0.0.1", "--gateway", "10.0.0.1"), "for both"),
        ):
            with self.assertRaisesRegex(Failure, why):
                self.run_(*words)
        with self.assertRaisesRegex(Failure, "--stdin"):
            self.run_(given=[word for word in GIVEN if word != "--stdin"])
        with self.assertRaisesRegex(Failure, "not given: Domain.*: --domain"):
            self.run_(given=["--yes", "--stdin"])
        self.assertNothingWritten()


class QuestionTests(Case):
    """What is asked, and what is not."""

    def answers(self, *texts: str) -> list[str]:
        """Answer questions in order. @return: gets the questions."""
        asked: list[str] = []
        queue = iter(texts)

        def input_(question: str) -> str:
            asked.append(question)
            try:
                return next(queue)
            except StopIteration:
                raise EOFError from None

        self.patch(builtins, "input", input_)
        return asked

    def test_all(self) -> None:
        """Each answer goes where it belongs; one that cannot be read is asked for again; empty is what is offered."""
        asked = self.answers(
            *("test.jp", "", "bucho", "*", "192.168.0.0/24, 10.1.0.0/16", "perhaps", "no"),
            *("192.168.0.102", "192.168.0.103", "smtp.isp.example"),
        )
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        self.patch(answers.socket, "getfqdn", lambda: "mx1.test.jp")
        self.run_(given=["--stdin"])
        self.assertEqual(len(asked), 10)
        self.assertIn("That cannot be read: * is everybody", said.getvalue())
        self.assertIn("That cannot be read: perhaps, expected yes or no", said.getvalue())
        settings, _ = loading.load(str(self.etc / "backend.toml"), "backend")
        self.assertEqual(list(map(str, settings.relay.networks))[2:], ["192.168.0.0/24", "10.1.0.0/16"])
        self.assertEqual(settings.relay.gateway, Hop("192.168.0.103", 25))
        settings, directory = loading.load(str(self.etc / "gateway.toml"), "gateway")
        self.assertEqual(settings.server.name, "mx1.test.jp")
        self.assertEqual(settings.relay.gateway, Hop("smtp.isp.example", 25))
        self.assertEqual(directory.hops.machines, {"192.168.0.102"})

    def test_offered(self) -> None:
        """A name of another domain is not offered; a user without a terminal is not waited for."""
        self.patch(answers.socket, "getfqdn", lambda: "localhost")
        self.answers("test.jp", "", "bucho", "", "", "")
        self.run_(given=["--stdin"])
        self.assertEqual(loading.load(str(self.etc / "gateway.toml"), "gateway")[0].server.name, "mail.test.jp")

    def test_twoMachines(self) -> None:
        """The gateway and a port for people may have the same port where they are on two machines."""
        self.run_("--backend", "10.0.0.1", "--gateway", "10.0.0.2", "--port", "587")

    def test_noAnswer(self) -> None:
        """The end of input is no answer."""
        self.answers("test.jp")
        with self.assertRaisesRegex(Failure, "no answer to: Name of this server"):
            self.run_(given=["--stdin"])
        self.assertNothingWritten()
