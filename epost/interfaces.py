"""
The roles of the house, as zope interfaces: the table of contents of everything that stands between two rooms.

Deferreds fire in the reactor thread. A method that may have its answer at hand returns it bare, without a Deferred.
Storage never lets an OSError out of a role: it becomes L{Refused} with what the client is told.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from epost.mail.address import Address
from epost.mail.copy import Copy
from epost.mail.decision import Allowed, Because, Client, Decision, Spent
from epost.mail.entry import Attempt, Entry
from epost.mail.envelope import Envelope
from epost.mail.name import Name
from epost.mail.reply import Reply
from epost.mail.route import Hop, Local, Onward, Route
from epost.mail.value import value


class IContent(Interface):
    """The content of one stored message."""

    size: int = Attribute("Octets on the wire, before dot-stuffing.")

    def parts() -> Iterator[bytes]:
        """The content from its begin, lines ended by CRLF, in parts of at most 64 KiB. May be called more than once."""


class IDraft(Interface):
    """A message that is being written and is not yet anybody's."""

    def write(part: bytes) -> None:
        """Add content, as on the wire, dots unstuffed. A fault of the disk is kept until L{commit}."""

    def commit() -> "Deferred[None]":
        """
        Make it durable, name and directory entry included.

        @return: fires when it is; fails with L{Refused}: 452 4.3.1 when the disk is full, 451 4.3.0 when it failed,
            450 4.2.2 when the mailbox that it is for is. Then nothing of it is left.
        """

    def discard() -> None:
        """Forget it."""


class ISerial(Interface):
    """Message numbers."""

    def next() -> int:
        """A number that was never given out before, also before a crash. @raise Refused: 451 4.3.0, the disk failed."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A name in the queue that nobody has read yet. @ivar due: when it is to be tried, seconds since 1970."""

    name: Name
    due: float


class ISpool(Interface):
    """What was accepted and is not yet delivered or returned."""

    def draft(name: Name, envelope: Envelope, queued: float, history: tuple[Attempt, ...] = ()) -> IDraft:
        """
        Begin a message. C{name} is unused so far.

        @param history: what is to be told of it from the start: of mail that a table holds, which line does.
        @raise Refused: 4xx: nothing can be written now.
        """

    def adopt(limit: int) -> list[Waiting]:
        """The next names that no living process owns, at most C{limit}; empty when all were given. Reads no content."""

    def load(name: Name) -> Entry:
        """
        Read envelope and attempts.

        @raise Refused: 4xx: it cannot be read now; 5xx: it is damaged, or gone for good; the
            spool has put what is left of it into C{dead} and said so.
        """

    def content(name: Name) -> IContent:
        """The content of a message of the queue. @raise Refused: as in L{load}."""

    def record(entry: Entry, *attempts: Attempt) -> Entry:
        """
        Add attempts and give the file the name and the due time that follow.

        It is written at once and synced with the next group: a crash may forget it, and the message is tried again.
        @return: C{entry.after(*attempts)}.
        """

    def remove(entry: Entry) -> None:
        """All recipients have ended: forget the message."""

    def bury(entry: Entry, why: str) -> None:
        """Neither deliverable nor returnable: to C{dead}, with a last line that says why."""

    def count() -> int:
        """How many messages wait."""

    def release() -> "Deferred[None]":
        """Write what is unwritten and let go of the folder. Fires when that is done."""


@value(frozen=True, slots=True)
class Usage:
    """
    What a mailbox holds, or may hold: 0 is then without limit.

    @ivar octets: of the files, as they stand on disk.
    @ivar messages: in C{new} and C{cur}.
    """

    octets: int = 0
    messages: int = 0


class IInbox(Interface):
    """The mailboxes."""

    def draft(box: Local, origin: Name, heading: bytes) -> IDraft:
        """
        Begin a message that goes straight into a mailbox.

        @param origin: the file's name; delivery never replaces a file.
        @param heading: Return-Path and Delivered-To, complete lines with CRLF.
        """

    def deliver(box: Local, origin: Name, heading: bytes, content: IContent, bounded: bool = True) -> "Deferred[None]":
        """
        Copy a message into a mailbox. Where C{origin} stands there already, it is delivered.

        @param bounded: whether the limit of the mailbox holds for it.
        @return: fires when it is durable; fails with L{Refused}, 4xx.
        """

    def usage(box: Local) -> Usage:
        """What the mailbox holds; nothing where there is none yet. @raise Refused: it cannot be read now."""


class IRoom(Interface):
    """What the disk has room for, beside what is kept free. Asking costs a look at the clock, as a rule."""

    def lacks(octets: int, files: int = 0) -> bool:
        """
        Whether a message is to be refused for now.

        @param octets: that are still to be written of it: at MAIL what its client announces, 0 where it does not; later
            its size times the copies.
        @param files: that are still to be made, beside the first.
        """

    def low() -> bool:
        """Whether less is free than is to be kept, so that what comes in must not be written on."""

    def promise(message: str, octets: int, files: int) -> bool:
        """
        Keep room for the copies of a message that is being accepted, until L{end}.

        @param message: the stem of its name, for which nothing is kept so far.
        @return: whether there is room; else nothing is kept.
        """

    def end(message: str) -> None:
        """It was not accepted, or its copies were made, or could not be: who waits longer has no room kept for him."""


class IRouter(Interface):
    """Where mail goes."""

    def expand(address: Address) -> tuple[Address, ...]:
        """The address after aliases: itself where none stands, each once, at least one."""

    def route(address: Address) -> Route:
        """The next place of an address after aliases."""


class IExpansion(IRouter):
    """What becomes of a message between its client and its recipients."""

    def direct(address: Address) -> Route | None:
        """The next place of an address that leads to itself and to nobody else, as most do; L{None}: it does not."""

    def copies(envelope: Envelope) -> Sequence[Copy]:
        """
        What is to be stored of a message: at least one; together they are for all of its recipients.

        @param envelope: as the client handed it over.
        @raise Refused: 5xx: a recipient cannot have this message.
        """

    def routes(copy: Copy) -> Set[Route]:
        """The next places of its recipients: at least one, and each mailbox is one."""


class IReplies(Interface):
    """Who is away."""

    def awaits(box: Local, envelope: Envelope) -> bool:
        """Whether L{arrived} is to be told of what a mailbox gets from somebody; most have nothing to say."""

    def arrived(box: Local, recipient: Address, envelope: Envelope, header: bytes) -> None:
        """
        A message is durable in a mailbox, or where that sends it on to: it may get an automatic reply.

        @param recipient: by which address it came, after aliases.
        @param envelope: says from whom, and how sure that is.
        @param header: its begin, L{epost.mail.autoreply.HEADER_OCTETS} or all of the header.
        """


class IAdmission(Interface):
    """Who may write to whom."""

    def exempt(client: Client) -> bool:
        """Whether a machine may have any number of connections (gateway.dat, C{true} lines)."""

    def sender(client: Client, path: Address | None, blank: bool) -> Decision:
        """
        Decide about MAIL.

        @param path: the reverse path; L{None} for the null one.
        @param blank: whether nothing at all stood behind C{MAIL FROM:}.
        """

    def recipient(
        client: Client, path: Address | None, sender: Decision, forward: Address, taken: Sequence[Address] = ()
    ) -> "Decision | Deferred[Decision]":
        """
        Decide about RCPT.

        @param sender: what was decided about MAIL.
        @param taken: the recipients of the same message that were accepted so far.
        """

    def giveBack(spent: Sequence[Spent]) -> None:
        """A message came to nothing. @param spent: what its decisions about RCPT name; each is given back once."""


class IAllowance(Interface):
    """What each account has sent to the outside in the last hour and day; remembered over restarts."""

    def spend(account: Address, allowed: Allowed, message: bool) -> Because | Spent:
        """
        Count one more recipient outside, if it is allowed.

        @param account: the account's own address.
        @param message: whether it is the first outside of its message, so that one more message is counted too.
        @return: what forbids it, and then nothing was counted; or what was.
        """

    def giveBack(spent: Spent) -> None:
        """Its message was not taken: count it no more. To be called once, soon or late."""


class IHints(Interface):
    """Small facts that survive a restart; a crash may forget the last second."""

    def get(kind: str, key: str, within: float = float("inf")) -> str | None:
        """
        What is known now; L{None} where nothing is, or no more.

        @param within: nothing is believed that holds for more than so many seconds from now: it was put when the clock
            was far ahead.
        """

    def put(kind: str, key: str, value: str, until: float) -> None:
        """
        Remember, in place of what was known.

        @param value: one line without control characters.
        @param until: seconds since 1970, rounded up.
        """

    def forget(kind: str, key: str) -> None:
        """It does not hold any more."""


class IIntake(Interface):
    """What takes an accepted message from the receiver."""

    def name(size: int) -> Name:
        """
        A name for a message whose MAIL was accepted.

        @param size: octets that the client announces; 0 where it does not.
        @raise Refused: 452 4.3.1, the disk has no room for it; as L{ISerial.next}.
        """

    def open(name: Name, client: Client, envelope: Envelope, size: int = 0) -> IDraft:
        """
        Begin its content. Aliases are expanded here; trace fields are put in front, missing fields are added where the
        sender is one of ours (spec 8).

        @param size: as for L{name}; here it counts for each copy, in the queue and in mailboxes.
        @raise Refused: not now (452 4.3.1, 451 4.3.0). L{IDraft.commit} may also fail with 554 5.4.6.
        """


@value(frozen=True, slots=True)
class Parcel:
    """
    What a channel is to hand over.

    @ivar name: as it stands in senderlog.
    @ivar recipients: those of the envelope that this transaction is for.
    """

    name: Name
    envelope: Envelope
    recipients: tuple[Address, ...]
    content: IContent


@value(frozen=True, slots=True)
class Report:
    """
    What came of a parcel.

    @ivar replies: for each recipient the reply that decided; 4xx of our own where nobody answered.
    @ivar host: C{host:port} that answered, or the last one tried; empty where none was found.
    @ivar tls: version and cipher; empty in clear.
    """

    replies: tuple[Reply, ...]
    host: str
    tls: str = ""


class IChannel(Interface):
    """A connection to one destination, made when it is needed and kept for the next message."""

    def send(parcel: Parcel) -> "Deferred[Report]":
        """Hand over one message; one at a time. It fires always and fails never."""

    def quit() -> None:
        """Say QUIT, if there is a connection, and end it; the reply is not waited for here."""


class ICarrier(Interface):
    """What speaks to other hosts."""

    def channel(route: Onward) -> IChannel:
        """A channel to a destination; no connection is made yet."""

    def probe(route: Onward, address: Address, sender: Address | None) -> "Deferred[Reply]":
        """
        Ask whether a recipient would be taken. Fires always: 4xx for no answer.

        @param sender: from whom; L{None} is the null reverse path.
        """


class IExchanges(Interface):
    """The DNS, as a mailer sees it (RFC 5321 5.1)."""

    def hops(domain: str) -> "Deferred[tuple[Hop, ...]]":
        """
        The hosts that take mail for a domain, the best first.

        @return: fails with L{Refused}: 5xx for no such domain and null MX, 4xx where the DNS did not answer.
        """

    def addresses(host: str) -> "Deferred[tuple[str, ...]]":
        """The IP addresses of a host, A and AAAA; of an IP address itself. Fails as L{hops}."""


class ISenderLog(Interface):
    """senderlog (spec 6). All texts are made safe by the log."""

    def trying(name: Name, domain: str, now: float, then: float, tries: int) -> None:
        """The three GetTryServer lines."""

    def connecting(name: Name, host: str) -> None:
        """C{ConnectHost(host)}."""

    def heard(name: Name, reply: Reply) -> None:
        """What the other side said, a line for each of its lines."""

    def said(name: Name, command: str) -> None:
        """What we said."""

    def returning(name: Name, sender: Address, domain: str, server: str, now: float, then: float, tries: int) -> None:
        """
        The four lines about a notice.

        @param name: of the entry that is returned, as at its last attempt.
        @param domain: the sender's.
        @param server: the host of the SMTPゲートウェイ setting, or empty.
        """


class IReceiveLog(Interface):
    """receivelog (spec 7). All texts are made safe by the log."""

    def lines(connection: int, texts: Sequence[str]) -> None:
        """What was written and read on a connection, in order."""

    def closed(connection: int, texts: Sequence[str] = ()) -> None:
        """What was said last on a connection, and the two lines at its end."""


class IWorkers(Interface):
    """Threads for what takes a part of a second."""

    def run(function: Callable[..., object], *arguments: object) -> "Deferred[object]":
        """
        Run a function away from the reactor's thread.

        @return: fires with what it returns, fails with what it raises.
        @raise Refused: 454 4.7.0: too many wait already.
        """

    def stop() -> None:
        """Return when what is under way is done; what waits is given up."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the client is to answer to. @ivar octets: not in base64; perhaps none."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The end of a login.

    @ivar reply: 235, or why not; 421 ends the connection.
    @ivar account: who the client is from now on; L{None}: nobody.
    """

    reply: Reply
    account: Address | None = None


class ILogin(Interface):
    """One attempt to log in, by one SASL mechanism. Where the client cancels, it is just forgotten."""

    def step(response: bytes | None) -> "Challenge | Outcome | Deferred[Challenge | Outcome]":
        """
        What the client says.

        @param response: octets, not in base64; L{None}, at the first step alone: there is no initial response.
        @return: what it is to be told. A Deferred never fails, and may take some seconds: guessing is slow.
        """

    def over() -> Reply | None:
        """
        Whether whoever has logged in so is welcome no more: his account is gone, has another password than the one that
        he proved, or may not log in from there any more. To be asked before anything is done for him; costs a look-up.

        @return: 421, to be said then; L{None}: he is welcome.
        """


class ILogins(Interface):
    """
    Who clients are.

    A channel binding is asked for by its name (C{tls-exporter}, C{tls-server-end-point}) and gives octets, or L{None}
    where the connection has none of that name.
    """

    def mechanisms(client: Client, binding: Callable[[str], bytes | None] | None = None) -> tuple[str, ...]:
        """The names of the mechanisms that are offered now, the best first; none in clear, as a rule."""

    def begin(
        mechanism: str, client: Client, binding: Callable[[str], bytes | None] | None = None, service: str = "smtp"
    ) -> ILogin:
        """
        Begin to log in.

        @param mechanism: its name as the client wrote it.
        @param service: C{smtp}, C{pop3} or C{imap4}: what the account must be allowed to use.
        @raise Refused: 504 5.5.4: no such mechanism; 538 5.7.11: only with TLS; 421 4.7.0: the address has failed too
            often.
        """
