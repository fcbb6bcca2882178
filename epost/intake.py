"""
What becomes of a message between 354 and 250: aliases, trace fields, and the place where it is stored.

A message that leads to one mailbox here and nowhere else is written straight into that Maildir and has no spool file;
every other goes to the spool and from there to the dispatcher. Either way the 250 waits for the disk.

Where lists and forwarding make several copies of a message each is a message of the queue under a number of its own,
and the client is told that of the first. All are written at once, the 250 waits for all, and no copy is sent before. A
copy that the disk does not take takes the others with it; a crash between may leave some, for which no 250 was sent.

Whether the disk has room is asked at MAIL, for the size that is announced; at DATA, for all the copies, those in
mailboxes too; while content comes; and at its end, for what it was.

House contract 1 and 5; spec 2 (names), 5 (aliases), 8 (Received, missing fields); RFC 5321 4.4 (trace).
"""

from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from epost.drafts import Branch, Branches, Draft, Promising
from epost.interfaces import IDraft, IExpansion, IInbox, IIntake, IReplies, IRoom, ISenderLog, ISerial, ISpool
from epost.mail import trace
from epost.mail.address import Address
from epost.mail.copy import Copy
from epost.mail.decision import Client
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.heading import Heading
from epost.mail.name import Name, numbered
from epost.mail.reply import Refused
from epost.mail.route import Held, Local, Route
from epost.smtp import wording

HANDED = 10  # Received fields that servers of ours may have added to what they took


@dataclass(frozen=True, slots=True)
class Marks:
    """
    What the trace fields say of us.

    @ivar host: our name.
    @ivar version: ours, as in the banner.
    @ivar received: how many Received fields a message may have.
    """

    host: str
    version: str
    received: int = 100


@implementer(IIntake)
class Intake:
    """
    Takes what the receiver accepted.

    @ivar inbox: L{None} on a daemon without mailboxes.
    @ivar accepted: called with the entry of every message that the spool has made durable.
    @ivar room: what the disk has room for.
    @ivar replies: is told of what arrives for who is away; L{None} on a daemon without mailboxes.
    """

    def __init__(
        self,
        marks: Marks,
        serial: ISerial,
        spool: ISpool,
        inbox: IInbox | None,
        router: IExpansion,
        senderLog: ISenderLog,
        clock: IReactorTime,
        accepted: Callable[[Entry], None],
        room: IRoom,
        replies: IReplies | None = None,
    ) -> None:
        self.marks = marks
        self.serial = serial
        self.spool = spool
        self.inbox = inbox
        self.router = router
        self.senderLog = senderLog
        self.clock = clock
        self.accepted = accepted
        self.room = room
        self.replies = replies

    def name(self, size: int) -> Name:
        """See L{IIntake}."""
        if self.room.lacks(size):
            raise Refused(wording.diskFull())
        return numbered(self.serial.next())

    def open(self, name: Name, client: Client, envelope: Envelope, size: int = 0) -> IDraft:
        """See L{IIntake}."""
        now = self.clock.seconds()
        recipients = envelope.recipients
        only = self.router.direct(recipients[0]) if len(recipients) == 1 else None
        heading = Heading(
            self.marks.received + (HANDED if client.known else 0),
            trace.missing(name, self.marks.host, envelope.sender, now) if envelope.ours else None,
            client.submission,
        )
        field = trace.received(client, self.marks.host, self.marks.version, name, envelope.utf8, now)
        routes: Collection[Route]
        if only is not None:
            routes = (only,)
        else:
            copies = self.router.copies(envelope)
            ways = [self.router.routes(copy) for copy in copies]
            if len(copies) > 1 or copies[0].front:
                self._ask(size, ways)
                return self._several(name, copies, ways, envelope, field, heading, now)
            envelope, routes = copies[0].envelope, ways[0]
            if len(routes) > 1:
                self._ask(size, ways)
            else:
                only = next(iter(routes))
        if isinstance(only, Local) and self.inbox is not None:
            return self._boxed(name, only, envelope, field, heading, now)
        return self._queued(name, envelope, routes, field, heading, now)

    def _boxed(self, name: Name, only: Local, envelope: Envelope, field: bytes, heading: Heading, now: float) -> IDraft:
        """A message of one mailbox."""
        assert self.inbox is not None
        recipient = envelope.recipients[0]
        box = self.inbox.draft(only, name, trace.delivery(envelope.sender, recipient))
        told = self._toldOf([(only, recipient)], envelope)
        return Draft(self.room, box, field, heading, lambda size: self._delivered(name, only, now), told)

    def _ask(self, size: int, ways: Sequence[Set[Route]]) -> None:
        """
        Whether there is room for all the copies.

        @param ways: each is one in the queue, and leads to some in mailboxes.
        @raise Refused: there is none.
        """
        files = len(ways) + sum(map(_boxes, ways))
        if files > 1 and self.room.lacks(size * files, files - 1):
            raise Refused(wording.diskFull())

    def _queued(
        self, name: Name, envelope: Envelope, routes: Collection[Route], field: bytes, heading: Heading, now: float
    ) -> IDraft:
        """A message of the queue."""
        letter, history = self._letter(name, envelope, routes, now)
        return Draft(
            self.room, letter, field, heading, lambda size: self.accepted(Entry(name, envelope, now, size, history))
        )

    def _several(
        self,
        name: Name,
        copies: Sequence[Copy],
        ways: Sequence[Set[Route]],
        envelope: Envelope,
        field: bytes,
        heading: Heading,
        now: float,
    ) -> IDraft:
        """Several messages of the queue, or one that is not as its client wrote it. @param ways: each copy's."""
        branches: list[Branch] = []
        try:
            for copy, routes in zip(copies, ways, strict=True):
                its = numbered(self.serial.next()) if branches else name
                letter, history = self._letter(its, copy.envelope, routes, now)
                branches.append(Branch(copy, Entry(its, copy.envelope, now, 0, history), letter, field))
        except BaseException:
            for branch in branches:
                branch.draft.discard()
            raise
        told = self._toldOf([(box, copy.by) for copy in copies if copy.by is not None for box in copy.passed], envelope)
        return Branches(self.room, branches, heading, self.accepted, self._takeBack, told)

    def _letter(
        self, name: Name, envelope: Envelope, routes: Collection[Route], now: float
    ) -> tuple[IDraft, tuple[Attempt, ...]]:
        """Begin one in the queue. @return: it, and what is to be told of it from the start."""
        history = self._held(routes, now)
        letter = self.spool.draft(name, envelope, now, history)
        boxes = _boxes(routes)
        return Promising(self.room, name.stem, boxes, letter) if boxes else letter, history

    def _takeBack(self, entry: Entry) -> None:
        """It is durable, and another copy of it is not."""
        self.spool.remove(entry)
        self.room.end(entry.name.stem)

    def _toldOf(self, arrivals: list[tuple[Local, Address]], envelope: Envelope) -> Callable[[bytes], None] | None:
        """
        Who is away and wants to know of a message.

        @param arrivals: mailboxes, and by which addresses it comes to them.
        @return: to be told of its header; L{None} where nobody minds, so that no header is kept.
        """
        replies = self.replies
        if replies is None:
            return None
        away = [(box, recipient) for box, recipient in arrivals if replies.awaits(box, envelope)]
        if not away:
            return None

        def told(header: bytes) -> None:
            for box, recipient in away:
                replies.arrived(box, recipient, envelope, header)

        return told

    def _held(self, routes: Collection[Route], now: float) -> tuple[Attempt, ...]:
        """What is to be told of a message for which there is nothing to do but wait: which line of a table holds it."""
        why = ""
        for route in routes:
            if not isinstance(route, Held):
                return ()
            why = why or route.because
        return (Attempt(now, 0.0, why, "", ()),)

    def _delivered(self, name: Name, box: Local, queued: float) -> None:
        """A delivery inside writes only the GetTryServer lines, with its own domain (spec 6)."""
        self.senderLog.trying(name, box.domain, self.clock.seconds(), queued, 0)


def _boxes(routes: Collection[Route]) -> int:
    """How many are mailboxes here."""
    return list(map(type, routes)).count(Local)
