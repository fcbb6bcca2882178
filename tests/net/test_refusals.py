"""
The daemon's log of refusals: each is told with its rule, the first of a second at once, the others together; of
connections that come to nothing the first of a minute, and how many more.
"""

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


class RefusalsCase(SynchronousTestCase):
    """L{refusals.Refusals} on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.refusals = refusals.Refusals(self.clock)
        self.events = self.enterContext(capturedLogs())

    def told(self) -> list[str]:
        """The lines since the last call, without what counts them."""
        texts = [formatEvent(event) for event in self.events]
        self.events.clear()
        return [text for event in texts for text in event.split("\n") if not text.endswith("more:")]


class TellTests(RefusalsCase):
    """It tells all refusals, and not one by one."""

    def refuse(self, *senders: str) -> None:
        for sender in senders:
            self.refusals.tell("192.0.2.1", "MAIL", parseAddress(sender) if sender else None, NO)

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


class SeldomTests(RefusalsCase):
    """What strangers can bring about without end is counted."""

    def hangUp(self, peer: str, times: int = 1, kind: str = "TLS handshake failed", why: str = "eof") -> None:
        for _ in range(times):
            self.refusals.seldom(peer, kind, why)

    def test_minute(self) -> None:
        """The first of a minute is told at once with its reason, the others by their number; then it begins anew."""
        for _ in range(2):
            self.hangUp("192.0.2.1")
            self.clock.advance(30)
            self.hangUp("192.0.2.1", 500)
            self.assertEqual(self.told(), ["192.0.2.1 TLS handshake failed: eof"])
            self.clock.advance(30)
            self.assertEqual(self.told(), ["500 more from 192.0.2.1: TLS handshake failed"])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_few(self) -> None:
        """What takes place once has one line."""
        self.hangUp("192.0.2.1", kind="was silent", why="")
        self.clock.advance(60)
        self.assertEqual(self.told(), ["192.0.2.1 was silent"])

    def test_apart(self) -> None:
        """Each range of addresses and each kind has a line of its own: of IPv6 a /64 is one."""
        for peer in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
            self.hangUp(peer)
        self.hangUp("192.0.2.1", 2, "refused", "421 4.7.0 no")
        told = [f"{peer} TLS handshake failed: eof" for peer in ("192.0.2.1", "192.0.2.2", "2001:db8::1")]
        last = ["2001:db8:0:1::1 TLS handshake failed: eof", "192.0.2.1 refused: 421 4.7.0 no"]
        self.assertEqual(self.told(), [*told, *last])
        self.clock.advance(60)
        self.assertEqual(
            self.told(), ["1 more from 2001:db8::/64: TLS handshake failed", "1 more from 192.0.2.1: refused"]
        )

    def test_everywhere(self) -> None:
        """Behind a hundred ranges the others are counted together: so much is kept, and so many lines a minute."""
        for number in range(100_000):
            self.hangUp(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        self.assertEqual(len(self.told()), 100)
        self.hangUp("10.0.0.99", 2)
        self.hangUp("10.0.0.100", 2, "refused")
        self.clock.advance(60)
        others = ["99900 more from elsewhere: TLS handshake failed", "2 more from elsewhere: refused"]
        self.assertEqual(sorted(self.told()), sorted(["2 more from 10.0.0.99: TLS handshake failed", *others]))

    def test_end(self) -> None:
        """At the end nothing is left untold, and nothing is waited for."""
        self.hangUp("192.0.2.1", 3)
        self.refusals.flush()
        self.assertEqual(self.told()[1:], ["2 more from 192.0.2.1: TLS handshake failed"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
