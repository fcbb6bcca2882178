"""
The sending side: from a destination to its hosts, to their addresses, to a conversation, to a report.

Within one attempt the next address, then the next host, is tried after a failed connection, a 4xx before MAIL, or a
connection lost before the reply to the end of data; a 5xx ends it, and so does every other reply (spec 4). Addresses
that did not answer are tried last for a while, so that a queue does not wait for the same dead host each time. How many
places and how much time an attempt may have is bounded: who publishes more wants to keep us busy.

A host that offers TLS gets it (L{epost.net.security}). Where that fails and need not succeed, the same host is called
anew in clear: a connection that has begun with TLS is never trusted again without it.

RFC 5321 3.3, 5.1; RFC 1047; RFC 3207. Replies of our own have a text for an administrator:
C{127.0.0.1:2526: connection refused}.
"""

import os
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from epost.interfaces import ICarrier, IChannel, IExchanges, ISenderLog, Parcel, Report
from epost.mail.address import Address
from epost.mail.name import Name
from epost.mail.reply import Refused, Reply
from epost.mail.route import Hop, Onward
from epost.mail.safe import safe
from epost.net.caller import Caller, Insecure, Patience
from epost.net.places import Lately, Place, isHere
from epost.net.security import Level, Levels, Outgoing, Trust
from epost.net.writing import Outbox
from epost.smtp.client import After, Outcome, Peer, encryption, hello, inquiry, opening, transaction
from epost.smtp.replies import KEPT_LINES

HOSTS = 10  # of a destination, and their addresses all together
OPENING_SECONDS = 600.0  # of an attempt, after which no further place is tried
DEAD_SECONDS = 60.0
CLEAR_SECONDS = 600.0  # in which a host whose TLS has failed is not asked for it again, where it need not be
MESSAGES = 100  # on one connection; many servers end it about there with 421

INTERNAL = Reply(451, ("internal error; the log of the server tells more",), "4.3.0")

log = Logger()

Dial = Callable[[str, int, float], IStreamClientEndpoint]


@implementer(ICarrier)
class Carrier:
    """Speaks SMTP to other hosts."""

    def __init__(
        self,
        reactor: IReactorTime,
        exchanges: IExchanges,
        senderLog: ISenderLog,
        name: str,
        hello: str = "EHLO",
        patience: Patience = Patience(),  # noqa: B008
        dial: Dial | None = None,
        levels: Levels = Levels(),  # noqa: B008
        trust: Trust | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """
        @param reactor: also what connections are made with, unless C{dial} is given.
        @param name: our own, for HELO.
        @param hello: C{"EHLO"} or C{"HELO"}.
        @param dial: an endpoint for an IP address, a port, and seconds of patience.
        @param levels: who is called with TLS.
        @param trust: whose certificates are good; L{None}: those that the system trusts.
        @param outbox: for what is said; L{None}: one of its own.
        """
        self._reactor = reactor
        self._exchanges = exchanges
        self._senderLog = senderLog
        self._name = name
        self._hello = hello
        self._patience = patience
        self._dial = dial or self._endpoint
        self._levels = levels
        self._trust = trust or Trust()
        self._outbox = outbox or Outbox(reactor)
        self._dead = Lately(reactor, DEAD_SECONDS)
        self._clear = Lately(reactor, CLEAR_SECONDS)

    def channel(self, route: Onward) -> "Channel":
        """A channel to a destination."""
        return Channel(self, route, self._reactor)

    def probe(self, route: Onward, address: Address, sender: Address | None) -> "Deferred[Reply]":
        """Ask whether a recipient would be taken. It is no delivery: senderlog tells nothing of it."""
        asked = Deferred.fromCoroutine(self._ask(route, address, sender))
        asked.addTimeout(self._patience.probe, self._reactor)
        return asked.addErrback(self._unasked, route)

    async def places(self, route: Onward) -> list[Place]:
        """
        Where a destination can be reached, the best first, what seems dead last. What the DNS says, anybody may say: it
        never leads to this machine itself, where others may listen who trust it (RFC 5321 5.1, the loop rule).

        @raise Refused: nowhere.
        """
        hops = (route.hops or await self._exchanges.hops(route.destination))[:HOSTS]
        found: list[Place] = []
        refusals: list[Reply] = []
        answers = await DeferredList([self._exchanges.addresses(hop.host) for hop in hops], consumeErrors=True)
        for hop, (_, result) in zip(hops, answers, strict=True):
            if isinstance(result, Failure):
                reply = _refusal(result)
                refusals.append(_ours(hop, reply) if route.hops else reply)
            else:
                usable = [address for address in result if route.hops or not isHere(address)]
                found += [Place(hop, address) for address in usable]
                if not usable:
                    refusals.append(Reply(550, (f"mail for {route.destination} loops back to myself",), "5.4.6"))
        if not found:
            raise Refused(next((reply for reply in refusals if reply.transient), refusals[-1]))
        return sorted(dict.fromkeys(found), key=self._dead.__contains__)[:HOSTS]

    async def call(self, route: Onward, place: Place, name: Name | None) -> tuple[Caller, Peer]:
        """
        Connect, and open the conversation, with TLS as the destination wants it.

        @param name: of the message, for senderlog; L{None}: not logged.
        @raise Refused: 4xx: another place may be tried; 5xx: it does not want us.
        """
        caller, peer = await self._open(place, name)
        level = self._levels.of(route, place.hop)
        if level is Level.NONE or (level is Level.MAY and ("STARTTLS" not in peer.extensions or place in self._clear)):
            return caller, peer
        try:
            return caller, await self._secure(caller, peer, Outgoing(self._trust, place.hop.host, level), place, name)
        except Insecure as failure:
            if name is not None:
                self._senderLog.said(name, f"no TLS: {failure.reply}")
            if level is Level.VERIFY:
                raise
            self._clear.add(place)
            why, minutes = failure.reply.lines[0], CLEAR_SECONDS / 60
            log.warn("{why}; mail goes there without TLS for {minutes:g} minutes", why=safe(why), minutes=minutes)
        return await self._open(place, name)

    async def _secure(self, caller: Caller, peer: Peer, outgoing: Outgoing, place: Place, name: Name | None) -> Peer:
        """
        Turn a conversation that was opened to TLS, and open it anew.

        @raise Insecure: it did not come about, and the connection is over.
        @raise Refused: it came about, and then the other side did not want us.
        """
        if "STARTTLS" not in peer.extensions:
            caller.quit()
            raise Insecure(Reply(454, (f"{place}: STARTTLS is not offered and [relay] tls wants it",), "4.7.4"))
        try:
            await caller.perform(encryption(), name)
        except Refused as refusal:
            _leave(caller, refusal)
            said = f"{place}: STARTTLS was answered {refusal.reply.code} {refusal.reply.lines[0]}"
            raise Insecure(Reply(454, (said if caller.answered else refusal.reply.lines[0],), "4.7.4")) from refusal
        await caller.secure(outgoing)
        try:
            return await caller.perform(hello(self._name), name)
        except Refused as refusal:
            if not caller.answered:  # with TLS 1.3 our handshake may be refused when we think that it is over
                raise Insecure(Reply(454, refusal.reply.lines, "4.7.5")) from refusal
            _leave(caller, refusal)
            raise

    async def _open(self, place: Place, name: Name | None) -> tuple[Caller, Peer]:
        """Connect, and open the conversation in clear. @raise Refused: as L{call}."""
        patience = self._patience
        if name is not None:
            self._senderLog.connecting(name, place.hop.host)
        caller = Caller(self._reactor, self._senderLog, patience, str(place), self._outbox)
        try:
            factory = Factory.forProtocol(lambda: caller)
            factory.noisy = False  # else two lines of the daemon's log for each connection
            await self._dial(place.address, place.hop.port, patience.connect).connect(factory)
        except ConnectError as error:
            self._dead.add(place)
            why = os.strerror(error.osError).lower() if error.osError else f"no answer within {patience.connect:g} s"
            raise Refused(Reply(451, (f"{place}: {why}",), "4.4.1")) from error
        except (OSError, UnicodeError) as error:  # it is no address that this machine can use
            self._dead.add(place)
            raise Refused(Reply(451, (f"{place}: cannot be dialled: {error}",), "4.4.1")) from error
        try:
            peer = await caller.perform(opening(self._name, self._hello), name)
        except Refused as refusal:
            if not caller.answered:
                self._dead.add(place)
            else:
                _leave(caller, refusal)
            raise
        self._dead.discard(place)
        return caller, peer

    async def _ask(self, route: Onward, address: Address, sender: Address | None) -> Reply:
        places = await self.places(route)
        for place in places:
            try:
                caller, peer = await self.call(route, place, None)
                try:
                    return await caller.perform(inquiry(peer, address, sender), None)
                finally:
                    caller.quit()
            except Refused as refusal:
                reply = refusal.reply
                if reply.permanent:
                    break
        raise Refused(reply)

    def _unasked(self, failure: Failure, route: Onward) -> Reply:
        """A question that nobody answered: always 4xx, since whatever was refused, it was not the recipient."""
        if isinstance(failure.value, Refused):
            reply = failure.value.reply
            return reply if reply.transient else Reply(451, (f"{route.destination}: {reply}",), "4.4.0")
        if isinstance(failure.value, TimeoutError | CancelledError | ConnectingCancelledError):
            return Reply(451, (f"{route.destination}: no answer within {self._patience.probe:g} s",), "4.4.1")
        log.failure("Asking {destination} about a recipient", failure, destination=route.destination)
        return INTERNAL

    def _endpoint(self, address: str, port: int, seconds: float) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        return kind(self._reactor, address, port, timeout=seconds)


@implementer(IChannel)
class Channel:
    """A connection to one destination, made when it is needed and kept for the next message."""

    def __init__(self, carrier: Carrier, route: Onward, clock: IReactorTime) -> None:
        self._carrier = carrier
        self._route = route
        self._clock = clock
        self._caller: Caller | None = None
        self._peer = Peer()
        self._place: Place | None = None
        self._reset = False  # whether RSET must come before the next MAIL
        self._sent = 0  # messages on this connection
        self._busy = False
        self._leaving = False

    def send(self, parcel: Parcel) -> "Deferred[Report]":
        """Hand over one message; one at a time. It fires always and fails never."""
        assert not self._busy, "one at a time"
        self._busy, self._leaving = True, False
        return Deferred.fromCoroutine(self._send(parcel)).addBoth(self._sentOne, parcel)

    def quit(self) -> None:
        """Say QUIT, if there is a connection, and end it; while a message is under way, behind it."""
        if self._busy:
            self._leaving = True
        elif self._caller is not None:
            self._caller.quit()
            self._caller = None

    def _sentOne(self, result: Report | Failure, parcel: Parcel) -> Report:
        """Whatever happened, there is a report: what is not reported would never be tried again."""
        self._busy = False
        if isinstance(result, Failure):
            log.failure("Sending {name}", result, name=str(parcel.name))
            self._leaving = True
            result = _all(parcel, INTERNAL, "")
        if self._leaving:
            self.quit()
        return result

    async def _send(self, parcel: Parcel) -> Report:
        had, began = self._place, self._clock.seconds()
        kept = await self._again(parcel)
        if isinstance(kept, Report):
            return kept
        try:
            places = await self._carrier.places(self._route)
        except Refused as refusal:
            return _all(parcel, refusal.reply, "")
        reply, host = kept, str(places[0].hop)
        for place in places:
            if kept and place == had:
                continue
            if reply and self._clock.seconds() - began >= OPENING_SECONDS:
                break
            host = str(place.hop)
            try:
                self._caller, self._peer = await self._carrier.call(self._route, place, parcel.name)
                self._place, self._reset, self._sent = place, False, 0
                return self._report(parcel, await self._hand(parcel, self._caller))
            except Refused as refusal:
                reply = refusal.reply
                if reply.permanent:
                    break
        return _all(parcel, reply or INTERNAL, host)

    async def _again(self, parcel: Parcel) -> Report | Reply | None:
        """
        Use the connection that was kept, if it can be used.

        @return: L{None}: there is none, or it was over before this message began, which is nobody's fault; a reply: it
            broke under this message, and its place has had its turn.
        """
        caller = self._caller
        if caller is None or not caller.usable:
            return None
        if self._sent >= MESSAGES:
            caller.quit()
            return None
        try:
            outcome = await self._hand(parcel, caller)
        except Refused as refusal:
            return refusal.reply if caller.answered else None
        if outcome.after is After.GONE and all(reply.code == 421 for reply in outcome.replies):
            return None  # it was idle or busy too long for the other side's taste
        return self._report(parcel, outcome)

    async def _hand(self, parcel: Parcel, caller: Caller) -> Outcome:
        """One transaction. @raise Refused: the connection is over."""
        content = parcel.content
        steps = transaction(
            self._peer, parcel.envelope, parcel.recipients, content.parts(), content.size, reset=self._reset
        )
        outcome = await caller.perform(steps, parcel.name)
        self._sent += 1
        self._reset = outcome.after is After.RESET
        if outcome.after is After.GONE:
            caller.hangUp()
        return outcome

    def _report(self, parcel: Parcel, outcome: Outcome) -> Report:
        assert self._place is not None and self._caller is not None
        return Report(tuple(map(_brief, outcome.replies)), str(self._place.hop), self._caller.tls)


def _all(parcel: Parcel, reply: Reply, host: str) -> Report:
    return Report((reply,) * len(parcel.recipients), host)


def _leave(caller: Caller, refusal: Refused) -> None:
    """The other side does not want us."""
    if refusal.reply.code == 421:  # it is leaving; there is nobody to say QUIT to
        caller.hangUp()
    else:
        caller.quit()


def _brief(reply: Reply) -> Reply:
    """What is written down of a reply, for each recipient: a yes of many lines is for EHLO alone."""
    return replace(reply, lines=reply.lines[:KEPT_LINES]) if len(reply.lines) > KEPT_LINES else reply


def _refusal(failure: Failure) -> Reply:
    """The reply that a failure carries; a bug is raised anew."""
    if not isinstance(failure.value, Refused):
        raise failure.value or AssertionError(failure)
    return failure.value.reply


def _ours(hop: Hop, reply: Reply) -> Reply:
    """A host that we were told to use and cannot find: the operator's to mend, and no reason to return mail."""
    return Reply(451, (f"{hop}: {reply.lines[0]}",), "4.3.5") if reply.permanent else reply
