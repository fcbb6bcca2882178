"""Names, replies and what follows from the attempts of an entry (spec 2, 6)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import AddressError, parseAddress
from epost.mail.entry import Attempt, Entry, Fate, Outcome
from epost.mail.envelope import Envelope
from epost.mail.name import numbered, parseName
from epost.mail.reply import Reply

QUEUED = 1246865254.0
NO = Reply(550, ("no",))


def entry(*attempts: tuple[Outcome, ...]) -> Entry:
    """A message for two recipients after some attempts."""
    new = Entry(numbered(186), Envelope(None, (parseAddress("a@x.jp"), parseAddress("b@y.jp"))), QUEUED, 1)
    for outcomes in attempts:
        new = new.after(Attempt(QUEUED, 1.0, "", "", outcomes))
    return new


class EntryTests(SynchronousTestCase):
    """What is still to be done follows from the attempts."""

    def test_new(self) -> None:
        """Of a new message all are pending since it was queued."""
        self.assertEqual((entry().pending(), entry().due), ({0: QUEUED, 1: QUEUED}, QUEUED))

    def test_highestRetry(self) -> None:
        """The name carries the highest number of failures of those that are tried again."""
        twice = entry((Outcome(0, Fate.REFUSED, NO, 5),), (Outcome(0, Fate.DEFERRED, NO, 6),))
        self.assertEqual(str(twice.name), "B0000000186-R0002")
        self.assertEqual(str(twice.after(Attempt(1, 1, "", "", (Outcome(0, Fate.DELIVERED, NO),))).name)[-2:], "02")

    def test_nameOfWhatIsReturned(self) -> None:
        """A message that is tried no more keeps the name of its last attempt, as in the seed."""
        done = (Outcome(1, Fate.DELIVERED, NO),)
        lost = entry(done, (Outcome(0, Fate.REFUSED, NO, 5),), (Outcome(0, Fate.REFUSED, NO),))
        self.assertEqual(str(lost.name.notice(1)), "B0000000186-R0001-E001")
        self.assertEqual((lost.abandoned(), lost.pending()), ({0: NO}, {0: 0.0}))

    def test_returned(self) -> None:
        """Whoever was told of is neither abandoned nor pending; a warning changes neither."""
        lost = entry((Outcome(0, Fate.REFUSED, NO),), (Outcome(1, Fate.WARNED, NO, 9),))
        self.assertEqual((lost.abandoned(), lost.warned, lost.pending()[1]), ({0: NO}, True, QUEUED))
        told = lost.after(Attempt(1, 0, "", "", (Outcome(0, Fate.RETURNED, NO),)))
        self.assertEqual((told.abandoned(), told.pending()), ({}, {1: QUEUED}))

    def test_failuresByKind(self) -> None:
        """Failures are counted for each recipient, and for each kind."""
        some = entry(
            (Outcome(0, Fate.REFUSED, NO, 5), Outcome(1, Fate.DEFERRED, NO, 5)), (Outcome(0, Fate.DEFERRED, NO, 6),)
        )
        self.assertEqual([some.failures(0), some.failures(0, Fate.REFUSED), some.failures(1, Fate.REFUSED)], [2, 1, 0])


class NameTests(SynchronousTestCase):
    """A name is read as it is written."""

    @given(st.integers(0, 10**14), st.lists(st.tuples(st.integers(1, 12000), st.integers(1, 999)), max_size=1))
    def test_roundTrip(self, number: int, branches: list[tuple[int, int]]) -> None:
        """Every name that is made is read again, more than ten digits included."""
        name = numbered(number)
        for retry, ordinal in branches:
            name = name.again(retry).notice(ordinal).again(retry)
            self.assertTrue(name.isNotice)
        self.assertEqual(parseName(str(name)), name)

    def test_noNames(self) -> None:
        """What only resembles a name is none."""
        for text in (
            "",
            "B186",
            "B0000000186-R1",
            "B0000000186-E001x",
            "B0000000186.MSG",
            "b0000000186",
            "B0000000186\n",
            "B" + "9" * 18,
        ):
            self.assertIsNone(parseName(text), text)


class ReplyTests(SynchronousTestCase):
    """A reply as it is written and what it means."""

    def test_written(self) -> None:
        """The enhanced code stands in front of each line, in a session that announced it alone."""
        reply = Reply(550, ("one", "two"), "5.7.1")
        self.assertEqual(reply.written(True), ["550-5.7.1 one", "550 5.7.1 two"])
        self.assertEqual(reply.written(False), ["550-one", "550 two"])

    def test_status(self) -> None:
        """Our own code, else the one that the other side wrote, else the class alone."""
        statuses = [Reply(550, ("x",), "5.7.1").status, Reply(450, ("4.2.2 full",)).status, Reply(550, ("4x",)).status]
        self.assertEqual(statuses, ["5.7.1", "4.2.2", "5.0.0"])


class AddressTests(SynchronousTestCase):
    """RFC 5321 4.1.2."""

    def test_compared(self) -> None:
        """Case, quotes and the form of a domain do not matter; the text stays as it was written."""
        self.assertEqual(parseAddress('"Baito"@TEST.jp'), parseAddress("baito@test.jp"))
        self.assertEqual(parseAddress("a@日本.jp"), parseAddress("a@xn--wgv71a.jp"))
        self.assertEqual(str(parseAddress("Baito@TEST.jp")), "Baito@TEST.jp")

    def test_refused(self) -> None:
        """What is no address, and what is only too long."""
        for text in (
            "",
            "a",
            "@b.jp",
            "a@",
            "a b@c.jp",
            "a..b@c.jp",
            "a@-b.jp",
            "a@b..jp",
            "a\r\nb@c.jp",
            "a@[1.2.3]",
            "a\udc80@b",
        ):
            self.assertFalse(self.assertRaises(AddressError, parseAddress, text).long, text)
        self.assertTrue(self.assertRaises(AddressError, parseAddress, "x" * 65 + "@b.jp").long)
