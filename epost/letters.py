"""
What this server writes to people beside notices: automatic replies, and warnings of limits.

Each is a message of the queue, under a number of its own and from the null reverse path, so nothing ever answers to it
and what of it cannot be delivered is not returned. Nobody's 250 waits for it: a crash may lose it, as it may have lost
the message before it was taken.

That a sender had his reply is remembered first, and the reply is written then. The other way round two messages of one
moment would have two replies, and a crash could make one for each message that the queue delivers again; this way a
crash between the two costs a courtesy. The memory itself is written within a second (L{epost.storage.hints}): who
writes again after a crash in that second may have a second reply. What the disk does not take is remembered for a
minute alone (L{epost.allowance}): whoever gives cause behind that is told then.

RFC 3834; RFC 5321 4.5.5.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.allowance import Answered
from epost.interfaces import IExpansion, IReplies, ISerial, ISpool, Usage
from epost.mail import autoreply, trace
from epost.mail.address import Address, parseAddress
from epost.mail.entry import Entry
from epost.mail.envelope import Envelope
from epost.mail.name import Name, numbered
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.tables.directory import Directory
from epost.tables.effect import Kind


class _Read:
    """A message, read once for all who are away."""

    def __init__(self, directory: Directory, header: bytes) -> None:
        self.directory = directory
        self.header = header
        self.letter = autoreply.Letter(header, {*directory.local, *directory.literals})

    @cached_property
    def names(self) -> Mapping[Address, Collection[Address]]:
        """Of accounts, by their addresses, those in the header that lead to nobody else: a group is nobody's name."""
        found: dict[Address, set[Address]] = {}
        for each in self.letter.recipients:
            first, *others = self.directory.aliased(each)
            if not others:
                found.setdefault(first, set()).add(each)
        return found


@implementer(IReplies)
class Letters:
    """
    Writes them.

    @param directory: gives what is in force.
    @param host: our name.
    @param accepted: takes a message of the queue.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Callable[[], Directory],
        serial: ISerial,
        spool: ISpool,
        router: IExpansion,
        answered: Answered,
        clock: IReactorTime,
        host: str,
        accepted: Callable[[Entry], None],
    ) -> None:
        self._directory = directory
        self._serial = serial
        self._spool = spool
        self._router = router
        self._answered = answered
        self._clock = clock
        self._host = host
        self._accepted = accepted
        self._last: _Read | None = None

    # Automatic replies.

    def awaits(self, box: Local, envelope: Envelope) -> bool:
        """See L{IReplies}."""
        account = self._directory().accounts.at(box)
        return account is not None and account.details.reply is not None and envelope.sender is not None

    def arrived(self, box: Local, recipient: Address, envelope: Envelope, header: bytes) -> None:
        """See L{IReplies}. Whatever is wrong here, the message has arrived."""
        answered = maybeDeferred(self._answer, box, recipient, envelope, header)
        answered.addErrback(self._tell, "no automatic reply to {person}'s mail", recipient)

    def _answer(self, box: Local, recipient: Address, came: Envelope, header: bytes) -> "Deferred[None] | None":
        directory, now, sender = self._directory(), self._clock.seconds(), came.sender
        account = directory.accounts.at(box)
        if account is None or account.details.reply is None or sender is None or not _believed(directory, came):
            return None
        whose, absence, read = account.address, account.details.reply, self._read(directory, header)
        letter = read.letter
        writer, *others = directory.aliased(sender)  # a tag is nobody else, and a group nobody at all
        if autoreply.declined(letter, sender, absence, now) is not None or writer == whose or others:
            return None
        if autoreply.astray(letter, sender, {whose, recipient, *read.names.get(whose, ())}) is not None:
            return None
        ends = self._router.expand(sender)
        if any(directory.lists.find(end) is not None for end in ends) or not self._answered.first(whose, writer):
            return None

        def reply() -> "Deferred[None]":
            name = numbered(self._serial.next())
            envelope, content = autoreply.compose(letter, sender, whose, absence, f"{name}@{self._host}", now)
            return self._send(name, replace(envelope, recipients=ends), content, now)

        def unwritten(failure: Failure) -> Failure:
            if isinstance(failure.value, Refused):  # a defect does not mend itself
                self._answered.unwritten(whose, writer)
            return failure

        return maybeDeferred(reply).addErrback(unwritten)

    def _read(self, directory: Directory, header: bytes) -> _Read:
        """A message, which as a rule is the one that arrived for somebody else just before."""
        if self._last is None or self._last.directory is not directory or self._last.header != header:
            self._last = _Read(directory, header)
        return self._last

    # Warnings.

    def warnAllowance(self, account: Address, text: str) -> "Deferred[bool]":
        """
        An account has used up what it may send; postmaster is told too.

        @param text: the warning, one paragraph.
        @return: fires with whether all is done: C{False}, it could not be written now.
        """
        return self._warn(account, (account, *self._postmaster(account)), f"{account} has reached its limit", text)

    def warnQuota(self, box: Local, usage: Usage, limit: Usage) -> "Deferred[bool]":
        """A mailbox is nearly full. @param limit: 0: none. @return: as in L{warnAllowance}."""
        account = self._directory().accounts.at(box)
        if account is None:
            return succeed(True)  # nobody is to be warned
        held = []
        if limit.octets:
            held.append(f"{usage.octets} of {limit.octets} octets")
        if limit.messages:
            held.append(f"{usage.messages} of {limit.messages} messages")
        text = (
            f"The mailbox of {account.address} holds {' and '.join(held)}. When it is full, new mail is put off, and "
            "in the end returned to those who send it. Please delete what you do not need any more."
        )
        return self._warn(account.address, (account.address,), "Your mailbox is nearly full", text)

    def _postmaster(self, account: Address) -> tuple[Address, ...]:
        """Who looks after an account's domain, beside itself."""
        found = self._directory().postmasterFor(parseAddress(f"postmaster@{account.domain}"))
        return (found,) if found is not None and found != account else ()

    def _warn(self, account: Address, people: tuple[Address, ...], subject: str, text: str) -> "Deferred[bool]":
        """A message of postmaster's. Whatever is wrong here, what it warns of has happened."""
        warned = maybeDeferred(self._warning, account, people, subject, text)
        return warned.addCallbacks(lambda _: True, self._tell, errbackArgs=("{person} is not warned", account))

    def _warning(self, account: Address, people: tuple[Address, ...], subject: str, text: str) -> "Deferred[None]":
        now, name = self._clock.seconds(), numbered(self._serial.next())
        head = [
            f"From: postmaster@{account.domain}",
            *(f"To: {person}" for person in people[:1]),
            *(f"Cc: {person}" for person in people[1:]),
            f"Subject: {subject}",
            f"Date: {trace.date(now)}",
            f"Message-Id: <{name}@{self._host}>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            *_folded(text),
            "",
        ]
        ends = {end: None for person in people for end in self._router.expand(person)}
        plain = all(person.ascii for person in (*people, *ends))
        envelope = Envelope(None, tuple(ends), utf8=not plain, body="" if plain else "8BITMIME")
        return self._send(name, envelope, "\r\n".join(head).encode(), now)

    # Both.

    def _send(self, name: Name, envelope: Envelope, content: bytes, now: float) -> "Deferred[None]":
        """Into the queue. Fails, as what it is made of, with L{Refused}: not now."""
        draft = self._spool.draft(name, envelope, now)
        draft.write(content)
        return draft.commit().addCallback(lambda _: self._accepted(Entry(name, envelope, now, len(content))))

    def _tell(self, failure: Failure, words: str, person: Address) -> bool:
        """Say in the log what was not written. @return: whether there is no use in another try: it is a defect."""
        if isinstance(failure.value, Refused):
            self._log.warn(f"{words}: {{reply}}", person=person, reply=failure.value.reply)
            return False
        self._log.failure(words, failure, person=person)
        return True


def _believed(directory: Directory, envelope: Envelope) -> bool:
    """Whether a reply would go to who has written: in a name of ours a stranger could have it go into any mailbox."""
    if envelope.ours or envelope.sender is None or not directory.isInside(envelope.sender):
        return True
    rule = directory.rule(envelope.client, envelope.sender, blank=False)
    return rule is not None and rule.kind in (Kind.TRUE, Kind.ONLY)


def _folded(text: str, width: int = 76) -> list[str]:
    """A paragraph in lines, broken at blanks alone."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines
