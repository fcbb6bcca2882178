"""Tests of L{epost.control.doctor.relay}: an open relay is found."""

from collections.abc import Callable

from epost.control.doctor import relay, wire
from epost.control.doctor.finding import Finding
from epost.control.doctor.pair import Half
from tests.control.doctor.cases import HASTE, REMARK, WRONG, Case
from tests.system.sink import Sink


class RelayTests(Case):
    """Open relays."""

    def test_rules(self) -> None:
        """The rules that are usual are no open relay."""
        for kind in ("backend", "gateway"):
            half = self.half(kind)
            self.assertAllOk(relay.decided(half.settings, half.directory))

    def test_everybodysNetwork(self) -> None:
        """E-Post's own rule, that whoever writes one of our addresses is ours, is one."""
        half = self.half("backend", relay={"networks": ["*"]})
        found = [f for f in relay.decided(half.settings, half.directory) if f.state is WRONG]
        self.assertRegex(found[0].text, "anybody who writes <bucho@test.jp> as sender may relay")
        self.assertRegex(found[0].mend, "own networks")

    def test_senderInARule(self) -> None:
        """A rule that lets a sender relay, and no machine, is one for whoever writes it."""
        for rule in ("abc.co.jp", "abc@abc.co.jp true", "sales-*@abc.co.jp only"):
            half = self.half("gateway", {"effect.dat": f"{rule}\n"})
            found = relay.decided(half.settings, half.directory)
            self.assertFound(found, WRONG, r"abc.co.jp> as sender may relay, by effect\.dat:1", "machines")

    def test_everyMachine(self) -> None:
        """A rule that lets every machine relay."""
        half = self.half("gateway", {"effect.dat": "*.*.*.*\n"})
        found = relay.decided(half.settings, half.directory)
        self.assertEqual({f.state for f in found}, {WRONG})

    def probed(
        self, half: Half, answer: Callable[[str], str | None], people: bool = False
    ) -> tuple[list[Finding], list[str]]:
        """What is found of a server that answers so, and what it heard. @param people: whether one logs in there."""
        sink = self.enterContext(Sink())
        sink.answer = answer
        door = wire.door(f"tcp:{sink.port}:interface=127.0.0.1", people)
        assert door is not None
        found = relay.probe(half.settings, half.directory, door, HASTE)
        self.assertEqual(sink.messages, [])
        self.assertFalse([word for word in sink.commands if word.upper().startswith("DATA")])
        return found, sink.commands

    def test_open(self) -> None:
        """A server that takes what its rules refuse is one, and hears no DATA."""
        found, heard = self.probed(self.half("backend"), lambda command: None)
        self.assertFound(found, WRONG, "127.66.66.66, whom the rules do not trust, may write from", "stop it")
        self.assertEqual(heard[-2:], ["RSET", "QUIT"])

    def test_closed(self) -> None:
        """A server that refuses at RCPT, or at MAIL, is none."""
        for verb in ("RCPT", "MAIL"):
            found, heard = self.probed(self.half("backend"), lambda c, verb=verb: "550 no" if c[:4] == verb else None)
            self.assertAllOk(found)
            self.assertEqual(heard[-1], "QUIT")
            self.assertIn("MAIL FROM:<bucho@test.jp>", heard)

    def test_undecided(self) -> None:
        """A server that says "later" has decided nothing; one that hangs up neither."""
        found, _ = self.probed(self.half("backend"), lambda c: "451 later" if c[:4] == "RCPT" else None)
        self.assertFound(found, REMARK, "did not decide")
        found, _ = self.probed(self.half("backend"), lambda c: "" if c[:4] == "RCPT" else None)
        self.assertFound(found, REMARK, "was not probed")

    def test_trusted(self) -> None:
        """Where the rules trust all of this machine nothing can be learnt from it, and that is said."""
        half = self.half("backend", relay={"networks": ["127.0.0.0/8"], "gateways": []})
        found, heard = self.probed(half, lambda command: None)
        self.assertFound(found, REMARK, "was not probed", "outside")
        self.assertEqual(heard, [])

    def test_people(self) -> None:
        """Where people log in no address is trusted, so that the port is probed whatever the rules say."""
        half = self.half("backend", relay={"networks": ["127.0.0.0/8"]})
        found, heard = self.probed(half, lambda c: "530 log in" if c[:4] == "MAIL" else None, people=True)
        self.assertAllOk(found)
        self.assertIn("MAIL FROM:<bucho@test.jp>", heard)
        found, _ = self.probed(half, lambda command: None, people=True)
        self.assertFound(found, WRONG, "127.66.66.66, who has not logged in, may write from", "stop it")
