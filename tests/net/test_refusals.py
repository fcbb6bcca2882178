"""The daemon's log of refusals: each is told with its rule, the first of a second at once, the others together."""

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress
from epost.mail.decision import Because, Decision
from epost.net import refusals
from epost.smtp import wording

NO = Decision(wording.invalidSender(), Because("effect.dat", 50, "baito@test.jp false"))
LINE = '192.0.2.1 MAIL <{}> refused: 550 5.7.1 Please, mail from a valid IP or Domain address. by effect.dat:50 "{}"'


def line(sender: str) -> str:
    """What is told of one."""
    return LINE.format(sender, NO.because.text)


class RefusalsTests(SynchronousTestCase):
    """L{refusals.Refusals} tells all, and not one by one."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.refusals = refusals.Refusals(self.clock)
        self.events = self.enterContext(capturedLogs())

    def refuse(self, *senders: str) -> None:
        for sender in senders:
            self.refusals.tell("192.0.2.1", "MAIL", parseAddress(sender) if sender else None, NO)

    def told(self) -> list[str]:
        """The lines since the last call, without what counts them."""
        texts = [formatEvent(event) for event in self.events]
        self.events.clear()
        return [text for event in texts for text in event.split("\n") if not text.endswith("more:")]

    def test_few(self) -> None:
        """One a second: each at once, and nothing is left to do."""
        for sender in ("a@x.jp", "", "b@x.jp"):
            self.refuse(sender)
            self.assertEqual(self.told(), [line(sender)])
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.clock.advance(1)

    def test_inWhoseMessage(self) -> None:
        """Of a recipient it is told whose message it was, and nothing forged."""
        self.refusals.tell("192.0.2.1", "RCPT", parseAddress("b@y.jp"), NO, " from <a@x.jp>")
        self.assertEqual(self.told(), [line("b@y.jp").replace("MAIL", "RCPT").replace("> ", "> from <a@x.jp> ", 1)])
        self.clock.advance(1)
        self.refusals.tell("192.0.2.1", "RCPT", parseAddress("b@y.jp"), NO, " from <\n>")
        self.assertIn("from <\\x0a>", self.told()[0])

    def test_many(self) -> None:
        """The first at once, those of the same second together when it is over, and so on; none is missing."""
        self.refuse("a@x.jp", "b@x.jp", "c@x.jp")
        self.assertEqual(self.told(), [line("a@x.jp")])
        self.clock.advance(0.5)
        self.refuse("d@x.jp")
        self.assertEqual(self.told(), [])
        self.clock.advance(0.5)
        self.assertEqual(len(self.events), 1)
        self.assertEqual(self.told(), [line("b@x.jp"), line("c@x.jp"), line("d@x.jp")])
        self.refuse("e@x.jp")
        self.clock.advance(0.9)
        self.assertEqual(self.told(), [])
        self.clock.advance(0.1)
        self.assertEqual(self.told(), [line("e@x.jp")])

    def test_fromOutside(self) -> None:
        """No octet of a client or of a next hop ends a line of the log or is obeyed by a terminal."""
        evil = Decision(wording.invalidSender(), Because("verification", 0, "550 \x1b[2J\r\n\x07\x0c\udcff"))
        self.refusals.tell("192.0.2.1", "RCPT", Address('"\x1b\n"@x.jp', "\x1b\n", "x.jp"), evil)
        (told,) = self.told()
        self.assertTrue(told.isprintable(), told)
        self.assertIn('by verification "550 \\x1b[2J\\x0d\\x0a\\x07\\x0c\\xff"', told)

    def test_memory(self) -> None:
        """What waits is bounded."""
        self.patch(refusals, "MOST", 10)
        self.refuse(*["a@x.jp"] * 11)
        self.assertEqual(len(self.told()), 11)
        self.clock.advance(1)
        self.assertEqual(self.told(), [])

    def test_end(self) -> None:
        """At the end nothing is left untold."""
        self.refuse("a@x.jp", "b@x.jp")
        self.refusals.flush()
        self.assertEqual(len(self.told()), 2)
