"""
What becomes of a message between 354 and 250: aliases, trace fields, and the place where it is stored.

A message that leads to one mailbox here and nowhere else is written straight into that Maildir and has no spool file;
every other goes to the spool and from there to the dispatcher. Either way the 250 waits for the disk.

House contract 1 and 5; spec 2 (names), 5 (aliases), 8 (Received, missing fields); RFC 5321 4.4 (trace).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from epost.interfaces import IDraft, IInbox, IIntake, IRouter, ISenderLog, ISerial, ISpool
from epost.mail import trace
from epost.mail.address import Address
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
    @ivar ours: whether a sender is one of ours, so that missing fields are added (spec 8).
    @ivar lacks: whether the disk has no room for a message of so many octets.
    """

    def __init__(
        self,
        marks: Marks,
        serial: ISerial,
        spool: ISpool,
        inbox: IInbox | None,
        router: IRouter,
        senderLog: ISenderLog,
        clock: IReactorTime,
        accepted: Callable[[Entry], None],
        ours: Callable[[Client, Address | None], bool],
        lacks: Callable[[int], bool],
    ) -> None:
        self.marks = marks
        self.serial = serial
        self.spool = spool
        self.inbox = inbox
        self.router = router
        self.senderLog = senderLog
        self.clock = clock
        self.accepted = accepted
        self.ours = ours
        self.lacks = lacks

    def name(self, size: int) -> Name:
        """See L{IIntake}."""
        if self.lacks(size):
            raise Refused(wording.diskFull())
        return numbered(self.serial.next())

    def open(self, name: Name, client: Client, envelope: Envelope) -> IDraft:
        """See L{IIntake}."""
        now = self.clock.seconds()
        envelope = self._expanded(envelope)
        ours = self.ours(client, envelope.sender)
        heading = Heading(
            self.marks.received + (HANDED if client.known else 0),
            trace.missing(name, self.marks.host, envelope.sender, now) if ours else None,
        )
        field = trace.received(client, self.marks.host, self.marks.version, name, envelope.utf8, now)
        routes = {self.router.route(address) for address in envelope.recipients}
        only = next(iter(routes))
        if isinstance(only, Local) and len(routes) == 1 and self.inbox is not None:
            front = trace.delivery(envelope.sender, envelope.recipients[0])
            box = self.inbox.draft(only, name, front)
            return _Draft(box, field, heading, lambda size: self._delivered(name, only, now))
        history = self._held(routes, now)
        letter = self.spool.draft(name, envelope, now, history)
        return _Draft(letter, field, heading, lambda size: self.accepted(Entry(name, envelope, now, size, history)))

    def _expanded(self, envelope: Envelope) -> Envelope:
        """Aliases in the place of their names; each address once."""
        recipients = envelope.recipients
        if len(recipients) == 1:  # as nearly all have
            found = self.router.expand(recipients[0])
        else:
            found = tuple({a.key: a for path in recipients for a in self.router.expand(path)}.values())
        return envelope if found == recipients else replace(envelope, recipients=found)

    def _held(self, routes: set[Route], now: float) -> tuple[Attempt, ...]:
        """What is to be told of a message for which there is nothing to do but wait: which line of a table holds it."""
        whys = [route.because for route in routes if isinstance(route, Held)]
        return (Attempt(now, 0.0, whys[0], "", ()),) if len(whys) == len(routes) else ()

    def _delivered(self, name: Name, box: Local, queued: float) -> None:
        """A delivery inside writes only the GetTryServer lines, with its own domain (spec 6)."""
        self.senderLog.trying(name, box.domain, self.clock.seconds(), queued, 0)


@implementer(IDraft)
class _Draft:
    """The content on its way into a store, with what we write in front of it."""

    def __init__(self, store: IDraft, field: bytes, heading: Heading, done: Callable[[int], None]) -> None:
        """@param field: our own Received field, in front of all that the client wrote."""
        self._store = store
        self._front = field  # goes in front of the next part
        self._heading = heading
        self._done = done
        self._size = 0

    def write(self, part: bytes) -> None:
        """See L{IDraft}."""
        if not self._heading.ended:
            part = b"".join((self._front, *self._heading.feed(part)))
            self._front = b""
        self._put(part)

    def commit(self) -> "Deferred[None]":
        """See L{IDraft}. Fails with 554 5.4.6 where the message has gone in circles."""
        if rest := b"".join((self._front, *self._heading.finish())):
            self._put(rest)
        if self._heading.tooMany:
            self._store.discard()
            return fail(Refused(wording.tooManyReceived()))
        return self._store.commit().addCallback(self._stored)

    def discard(self) -> None:
        """See L{IDraft}."""
        self._store.discard()

    def _put(self, piece: bytes) -> None:
        self._size += len(piece)
        self._store.write(piece)

    def _stored(self, result: None) -> None:
        self._done(self._size)
