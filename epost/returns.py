"""
Notices: made durable here, before anything that they tell of is forgotten.

A notice whose sender leads to one mailbox here goes straight into it; every other is a message of the queue, from the
null reverse path. What the notice says and how it looks is L{epost.mail.notice}'s.

Spec 9, spec 6 (ReturnMail lines); RFC 5321 4.5.5, 6.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from epost.interfaces import IContent, IDraft, IInbox, IRouter, ISenderLog, ISpool
from epost.mail import autoreply, trace
from epost.mail.address import Address
from epost.mail.entry import Attempt, Entry, Fate, Outcome
from epost.mail.notice import Notice, Subject, compose
from epost.mail.reply import Refused, Reply
from epost.mail.retry import Patience
from epost.mail.route import Local
from epost.mail.safe import safe


@dataclass(frozen=True, slots=True)
class Letterhead:
    """
    How notices are written here.

    @ivar domain: the domain of the postmaster who writes to a sender: the sender's where it is local or a relay domain,
        else the server's name.
    @ivar server: the host of the SMTPゲートウェイ setting, for senderlog; or empty.
    @ivar straight: whether a notice to a mailbox here goes straight into it.
    @ivar whole: whether the Message-Id of every notice has the whole name.
    @ivar octets: of an original that is returned whole.
    """

    domain: Callable[[Address], str]
    server: str = ""
    straight: bool = True
    whole: bool = False
    octets: int = 1048576


def isLetter(entry: Entry) -> bool:
    """Whether we wrote a message, and it is no notice: a warning to somebody here, or an automatic reply."""
    return entry.envelope.sender is None and not entry.envelope.client and not entry.name.isNotice


def isReply(content: IContent) -> bool:
    """Whether a letter of ours is an automatic reply. @raise Refused: it cannot be read now."""
    header = next(iter(content.parts()), b"")
    return "auto-replied" in autoreply.Letter(header).words("auto-submitted")


class Returns:
    """Writes notices."""

    _log = Logger()

    def __init__(
        self,
        letterhead: Letterhead,
        spool: ISpool,
        inbox: IInbox | None,
        router: IRouter,
        senderLog: ISenderLog,
        clock: IReactorTime,
        patience: Patience,
        accepted: Callable[[Entry], None],
    ) -> None:
        """@param accepted: takes a notice that is a message of the queue."""
        self._letterhead = letterhead
        self._spool = spool
        self._inbox = inbox
        self._router = router
        self._senderLog = senderLog
        self._clock = clock
        self._patience = patience
        self._accepted = accepted

    def wanted(self, entry: Entry) -> bool:
        """Whether the sender is to be told anything now."""
        return bool(entry.attempts) and bool(entry.abandoned() or self._late(entry))

    async def settle(self, entry: Entry) -> Entry:
        """
        Write the notices that are wanted, and then down that they are written.

        @return: the entry after that. Where no recipient is pending any more it is not recorded: its file goes.
        @raise Refused: the disk takes nothing now.
        """
        if lost := entry.abandoned():
            # A notice is never returned, nor is anything else that nobody sent.
            notice = await self._failure(entry, lost) if entry.envelope.sender is not None else None
            entry = self._note(entry, tuple(Outcome(p, Fate.RETURNED, reply) for p, reply in lost.items()), notice)
        if late := self._late(entry):
            until = max(self._patience.until(entry, place) for place in late)
            notice = await self._write(entry, {place: o.reply for place, o in late.items()}, "W", 1, until)
            entry = self._note(entry, tuple(Outcome(p, Fate.WARNED, o.reply, o.due) for p, o in late.items()), notice)
        return entry

    def forget(self, entry: Entry) -> None:
        """All recipients have ended. What failed and has no sender goes to C{dead}; an automatic reply nobody lacks."""
        outcomes = [o for attempt in entry.attempts for o in attempt.outcomes if o.fate is Fate.RETURNED]
        if outcomes and entry.envelope.sender is None:
            recipients = entry.envelope.recipients
            why = "; ".join(f"{recipients[o.recipient]}: {o.reply.written(True)[-1]}" for o in outcomes)
            if isLetter(entry) and self._isReply(entry):
                self._log.info("{name}: an automatic reply is given up: {why}", name=entry.name, why=safe(why))
                self._spool.remove(entry)
            else:
                self._spool.bury(entry, why)
        else:
            self._spool.remove(entry)

    def _isReply(self, entry: Entry) -> bool:
        """Whether a letter of ours is an automatic reply; where it cannot be read now it is none."""
        try:
            return isReply(self._spool.content(entry.name))
        except Refused:
            return False

    def _late(self, entry: Entry) -> dict[int, Outcome]:
        """The recipients of whose delay the sender is to be told now."""
        if not self._patience.warns(entry, self._clock.seconds()):
            return {}
        return {place: o for place, o in entry.last().items() if o.fate.failed and o.due}

    def _note(self, entry: Entry, outcomes: tuple[Outcome, ...], notice: Entry | None) -> Entry:
        """Record that a notice is durable, and send it on its way."""
        attempt = Attempt(self._clock.seconds(), 0.0, "", "", outcomes)
        after = entry.after(attempt)
        if notice is not None:
            self._accepted(notice)
        return self._spool.record(entry, attempt) if after.pending() else after

    async def _failure(self, entry: Entry, replies: dict[int, Reply]) -> Entry | None:
        """
        Tell the sender that a message has failed for some recipients.

        @param replies: by the recipient's place in the envelope.
        @return: when it is durable: the notice as an entry of the queue; L{None} where it stands in a mailbox.
        @raise Refused: the disk takes nothing now.
        """
        sender = entry.envelope.sender
        assert sender is not None
        now, retry, server = self._clock.seconds(), entry.name.retry, self._letterhead.server
        then = now if retry else entry.queued
        self._senderLog.returning(entry.name, sender, sender.domain, server, now, then, retry)
        told = sum(any(o.fate is Fate.RETURNED for o in attempt.outcomes) for attempt in entry.attempts)
        return await self._write(entry, replies, "E", told + 1, None)

    async def _write(
        self, entry: Entry, replies: dict[int, Reply], kind: str, ordinal: int, until: float | None
    ) -> Entry | None:
        """Compose a notice and store it. @param until: of a warning of delay: when tries end."""
        now, envelope, head = self._clock.seconds(), entry.envelope, self._letterhead
        assert envelope.sender is not None
        name = entry.name.notice(ordinal, kind)
        fates = {envelope.recipients[place]: reply for place, reply in sorted(replies.items())}
        about = Subject(
            name, envelope, head.domain(envelope.sender), fates, until, head.whole, entry.size > head.octets
        )
        notice = compose(about, self._spool.content(entry.name).parts, now)
        goals = self._router.expand(envelope.sender)
        route = self._router.route(goals[0])
        if head.straight and self._inbox is not None and len(goals) == 1 and isinstance(route, Local):
            try:
                await _store(self._inbox.draft(route, name, trace.delivery(None, goals[0])), notice)
                return None
            except Refused:
                pass  # a full box, say: as a message of the queue it is tried again, and goes to dead in the end
        whole = replace(notice.envelope, recipients=goals)
        size = await _store(self._spool.draft(name, whole, now), notice)
        return Entry(name, whole, now, size)


async def _store(draft: IDraft, notice: Notice) -> int:
    """Write a notice and wait for the disk. @return: its octets."""
    size = 0
    try:
        for part in notice.parts():
            draft.write(part)
            size += len(part)
    except BaseException:
        draft.discard()
        raise
    await draft.commit()
    return size
