"""The contracts of the storage roles, run over the files and over the memory providers."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from epost.interfaces import IContent, IDraft, IInbox, ISerial, ISpool, Usage, Waiting
from epost.mail.address import Address, parseAddress, postmaster
from epost.mail.entry import Attempt, Entry, Fate, Outcome
from epost.mail.envelope import Envelope
from epost.mail.name import Name, numbered
from epost.mail.reply import Refused, Reply
from epost.mail.route import Local
from tests.storage.memory import MemoryContent

QUEUED = 1246865254.0  # 2009-07-06 16:27:34 +0900
BAITO = parseAddress("baito@test.jp")
USER2 = parseAddress("user2@test-sample00.jp")
ENVELOPE = Envelope(BAITO, (USER2,), client="192.168.0.2")
CONTENT = b"Subject: test4\r\n\r\n\x8b\x00.\r\n..\r\n"
REFUSED = Reply(550, ("Please, mail from a valid IP or Domain address.",))
USER1, BUCHO = Local("user1", "test.jp"), Local("bucho", "test.jp")
HEADING = b"Return-Path: <baito@test.jp>\r\nDelivered-To: user1@test.jp\r\n"
SEED = numbered(186)


def failed(due: float = QUEUED + 120, fate: Fate = Fate.REFUSED, recipient: int = 0) -> Attempt:
    """The seed's first attempt."""
    outcome = Outcome(recipient, fate, REFUSED, due)
    return Attempt(QUEUED + 1, 0.2, "192.168.0.103:25", "", (outcome,))


class SpoolContract(SynchronousTestCase):
    """A spool. The subclass says how to make one, and what the next process finds."""

    spool: ISpool

    def next(self) -> ISpool:
        """The spool of the next process."""
        raise AssertionError("the subclass says")

    def put(self, name: Name = SEED, envelope: Envelope = ENVELOPE, content: bytes = CONTENT) -> Entry:
        """Accept a message."""
        draft = self.spool.draft(name, envelope, QUEUED)
        draft.write(content[:5])
        draft.write(content[5:])
        self.assertIsNone(self.successResultOf(draft.commit()))
        return Entry(name, envelope, QUEUED, len(content))

    def refusal(self, function: object, *arguments: object) -> Reply:
        """What a call is refused with."""
        assert callable(function)
        return self.assertRaises(Refused, function, *arguments).reply

    def test_roles(self) -> None:
        """Spool, draft and content claim their roles and keep their signatures."""
        self.put()
        self.assertTrue(verifyObject(ISpool, self.spool))
        self.assertTrue(verifyObject(IDraft, self.spool.draft(numbered(1), ENVELOPE, QUEUED)))
        self.assertTrue(verifyObject(IContent, self.spool.content(SEED)))

    def test_acceptedIsThere(self) -> None:
        """What was committed is loaded as it was given, and its content is octet for octet the same, each time."""
        entry = self.put()
        self.assertEqual(self.spool.load(SEED), entry)
        content = self.spool.content(SEED)
        self.assertEqual(content.size, len(CONTENT))
        for _ in range(2):
            self.assertEqual(b"".join(content.parts()), CONTENT)

    def test_envelopes(self) -> None:
        """Every kind of address and every field come back: null path, postmaster, quoted, UTF-8, no UTF-8."""
        odd = (
            postmaster(),
            parseAddress('"a b@c"@[127.0.0.1]'),
            parseAddress("A.B@EXAMPLE.jp"),
            Address("受@テスト.jp", "受", "xn--zckzah.jp"),
            Address("\udc8b@test.jp", "\udc8b", "test.jp"),
        )
        envelope = Envelope(None, odd, utf8=True, body="8BITMIME", ours=True)
        self.put(envelope=envelope)
        found = self.spool.load(SEED).envelope
        self.assertEqual(found, envelope)
        for there, here in zip(found.recipients, odd, strict=True):
            self.assertEqual((there.text, there.local, there.domain), (here.text, here.local, here.domain))

    def test_parts(self) -> None:
        """Long content comes in parts of at most 64 KiB."""
        content = bytes(range(256)) * 1000
        self.put(content=content)
        parts = list(self.spool.content(SEED).parts())
        self.assertEqual(b"".join(parts), content)
        self.assertLessEqual(max(map(len, parts)), 65536)

    def test_empty(self) -> None:
        """Content may be empty."""
        self.put(content=b"")
        self.assertEqual(list(self.spool.content(SEED).parts()), [])

    def test_discarded(self) -> None:
        """A draft that was given up leaves nothing, however long it was."""
        for size in (10, 100000):
            draft = self.spool.draft(SEED, ENVELOPE, QUEUED)
            draft.write(b"x" * size)
            draft.discard()
        self.assertEqual((self.spool.count(), self.next().adopt(9)), (0, []))

    def test_ownIsNotAdopted(self) -> None:
        """What this process accepted is not given to it again."""
        self.put()
        self.assertEqual((self.spool.adopt(9), self.spool.count()), ([], 1))

    def test_adopted(self) -> None:
        """The next process gets each message once, the oldest first, as many as it asks for; all are due at once."""
        for number in (3, 1, 2):
            self.put(numbered(number))
        after = self.next()
        self.assertEqual(after.count(), 3)
        self.assertEqual(after.adopt(2), [Waiting(numbered(1), 0.0), Waiting(numbered(2), 0.0)])
        self.assertEqual(after.adopt(2), [Waiting(numbered(3), 0.0)])
        self.assertEqual((after.adopt(2), after.count()), ([], 3))

    def test_recorded(self) -> None:
        """An attempt is kept as data, and the name that follows is the seed's B0000000186-R0001, due when it says."""
        entry = self.put()
        after = self.spool.record(entry, failed())
        self.assertEqual(after, entry.after(failed()))
        self.assertEqual(str(after.name), "B0000000186-R0001")
        self.assertEqual(self.spool.load(after.name), after)
        reborn = self.next()
        self.assertEqual(reborn.adopt(9), [Waiting(after.name, QUEUED + 120)])
        self.assertEqual(reborn.load(after.name), after)
        self.assertEqual(b"".join(reborn.content(after.name).parts()), CONTENT)

    def test_recordedTwice(self) -> None:
        """Attempts add up; every field of them is kept."""
        entry = self.put(envelope=Envelope(None, (USER2, BAITO)))
        first = self.spool.record(entry, failed(fate=Fate.WARNED))
        reply = Reply(451, ("4.3.0 später", "", "zwei"), "4.3.0")
        both = (Outcome(0, Fate.DELIVERED, Reply(250, ("ok",))), Outcome(1, Fate.DEFERRED, reply, QUEUED + 3600.5))
        second = self.spool.record(first, Attempt(QUEUED + 9, 0.5, "[::1]:25", "TLSv1.3 AES", both))
        self.assertEqual(self.spool.load(second.name), second)
        self.assertEqual(self.next().load(second.name).attempts, (failed(fate=Fate.WARNED), second.attempts[1]))

    def test_held(self) -> None:
        """A message without a failed attempt keeps its name, and is due when its entry says."""
        entry = self.put()
        after = self.spool.record(entry, failed(QUEUED + 14400, Fate.WARNED))
        self.assertEqual(str(after.name), "B0000000186")
        reborn = self.next()
        self.assertEqual(reborn.adopt(9), [Waiting(SEED, after.due or 0.0)])
        self.assertEqual(reborn.load(SEED), after)

    def test_heldFromTheStart(self) -> None:
        """What is told of a message from its start stands in its entry, also for the next process."""
        history = (Attempt(QUEUED, 0.0, 'gateway.dat:3 "hold.example, hold"', "", ()),)
        for size, name in ((10, SEED), (100000, numbered(187))):  # in one write, and in many
            draft = self.spool.draft(name, ENVELOPE, QUEUED, history)
            draft.write(b"x" * size)
            self.successResultOf(draft.commit())
            self.assertEqual(self.spool.load(name), Entry(name, ENVELOPE, QUEUED, size, history))
            self.assertEqual(b"".join(self.spool.content(name).parts()), b"x" * size)
        reborn = self.next()
        self.assertEqual([waiting.name for waiting in reborn.adopt(9)], [SEED, numbered(187)])
        self.assertEqual(reborn.load(SEED).attempts, history)
        reborn.remove(reborn.load(SEED))
        self.assertEqual(reborn.count(), 1)

    def test_contentOutlivesTheName(self) -> None:
        """Content that was asked for under one name is read under the next."""
        entry = self.put()
        content = self.spool.content(SEED)
        self.spool.record(entry, failed())
        self.assertEqual(b"".join(content.parts()), CONTENT)

    def test_removed(self) -> None:
        """A message that ended is gone, under the name of its last attempt too."""
        after = self.spool.record(self.put(), failed())
        self.spool.remove(after)
        self.assertEqual(self.spool.count(), 0)
        self.assertEqual(self.refusal(self.spool.load, after.name).code, 554)
        self.assertEqual(self.refusal(self.spool.content, SEED).code, 554)
        self.assertEqual(self.next().adopt(9), [])

    def test_buried(self) -> None:
        """A dead message waits for nothing any more."""
        after = self.spool.record(self.put(), failed())
        self.spool.bury(after, "notice refused\nby all")
        self.assertEqual((self.spool.count(), self.next().adopt(9)), (0, []))

    def test_stemsNeverCollide(self) -> None:
        """A message, its retry and its notices stand side by side."""
        entry = self.spool.record(self.put(), failed())
        names = [entry.name, entry.name.notice(1), entry.name.notice(2), entry.name.notice(1, "W"), numbered(1186)]
        for name in names[1:]:
            self.put(name)
        self.assertEqual([self.spool.load(name).name for name in names], names)
        self.assertEqual(sorted(waiting.name for waiting in self.next().adopt(9)), sorted(names))

    def test_released(self) -> None:
        """It is let go when all is written."""
        self.put()
        self.assertIsNone(self.successResultOf(self.spool.release()))


class InboxContract(SynchronousTestCase):
    """Mailboxes. The subclass says how to make them and to look into one."""

    inbox: IInbox

    def next(self) -> IInbox:
        """The mailboxes of the next process."""
        raise AssertionError("the subclass says")

    def stored(self, box: Local) -> dict[str, bytes]:
        """Names without C{.MSG}, and content with LF."""
        raise AssertionError("the subclass says")

    def write(self, origin: Name = SEED, box: Local = USER1, content: bytes = CONTENT, cut: int = 16) -> None:
        """A message that goes straight there."""
        draft = self.inbox.draft(box, origin, HEADING)
        for start in range(0, len(content), cut):
            draft.write(content[start : start + cut])
        self.assertIsNone(self.successResultOf(draft.commit()))

    def lf(self, content: bytes = CONTENT) -> bytes:
        """As it is stored."""
        return (HEADING + content).replace(b"\r\n", b"\n")

    def test_roles(self) -> None:
        """Inbox and draft claim their roles and keep their signatures."""
        self.assertTrue(verifyObject(IInbox, self.inbox))
        self.assertTrue(verifyObject(IDraft, self.inbox.draft(USER1, SEED, HEADING)))

    def test_written(self) -> None:
        """A message stands in its mailbox with its heading, and in no other."""
        self.write()
        self.assertEqual((self.stored(USER1), self.stored(BUCHO)), ({"B0000000186": self.lf()}, {}))

    def test_everyCut(self) -> None:
        """CRLF becomes LF wherever the parts are cut; a CR alone stays."""
        content = b"a\r\nb\rc\r\r\n\r\n\r"
        for cut in range(1, len(content) + 1):
            self.write(numbered(cut), content=content, cut=cut)
        self.assertEqual(set(self.stored(USER1).values()), {self.lf(content)})

    def test_discarded(self) -> None:
        """A draft that was given up leaves nothing, however long it was."""
        for size in (10, 100000):
            draft = self.inbox.draft(USER1, SEED, HEADING)
            draft.write(b"x" * size)
            draft.discard()
        self.assertEqual((self.stored(USER1), self.inbox.usage(USER1)), ({}, Usage(0, 0)))

    def test_copied(self) -> None:
        """A message of the queue is copied, long ones too."""
        long = b"0123456789abcdef\r\n" * 20000
        self.successResultOf(self.inbox.deliver(USER1, SEED, HEADING, MemoryContent(CONTENT)))
        self.successResultOf(self.inbox.deliver(USER1, numbered(187), HEADING, MemoryContent(long)))
        self.assertEqual(self.stored(USER1), {"B0000000186": self.lf(), "B0000000187": self.lf(long)})

    def test_deliveredOnce(self) -> None:
        """What stands there already is delivered, in this process and in the next; the file is not replaced."""
        self.write()
        for inbox in (self.inbox, self.next()):
            other = MemoryContent(b"another\r\n")
            self.assertIsNone(self.successResultOf(inbox.deliver(USER1, SEED, HEADING, other)))
        self.assertEqual(self.stored(USER1), {"B0000000186": self.lf()})

    def test_usage(self) -> None:
        """The size of a mailbox is what is stored there; 0 before there is one."""
        self.assertEqual(self.inbox.usage(USER1), Usage(0, 0))
        self.write()
        self.successResultOf(self.inbox.deliver(USER1, numbered(187), HEADING, MemoryContent(CONTENT)))
        both = Usage(2 * len(self.lf()), 2)
        self.assertEqual((self.inbox.usage(USER1), self.inbox.usage(BUCHO)), (both, Usage(0, 0)))
        self.assertEqual(self.next().usage(USER1), both)


class SerialContract(SynchronousTestCase):
    """Message numbers. The subclass says how to make a serial."""

    def make(self) -> ISerial:
        """The serial of the next process, without the one before having stopped in order."""
        raise AssertionError("the subclass says")

    def test_role(self) -> None:
        """It claims its role."""
        self.assertTrue(verifyObject(ISerial, self.make()))

    def test_countsUp(self) -> None:
        """Numbers go up by one, beyond any block."""
        serial = self.make()
        first = serial.next()
        self.assertEqual([serial.next() for _ in range(2500)], list(range(first + 1, first + 2501)))
