"""
Whom a message goes to in the end, over aliases, forwarding and lists, and with which reverse path.

A list is one copy, however many members it has: from C{staff-bounces@}, so that what cannot be delivered comes to its
owner and not to whoever wrote. What an alias or an account here leads to the outside is a copy for each address that
the client named: it says C{Delivered-To} that address, and is not made again where that stands in it already. With SRS
it has a reverse path of ours. All others share the copy that the client handed over.

L{epost.routes} says where each of them goes. Spec 5; RFC 5321 3.9 (aliases and lists), 6.3; RFC 2919.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace

from zope.interface import implementer

from epost.interfaces import IExpansion
from epost.mail import listing
from epost.mail.address import Address
from epost.mail.copy import Copy
from epost.mail.decision import Because, Client, Decision
from epost.mail.envelope import Envelope
from epost.mail.reply import Refused
from epost.mail.route import Route
from epost.mail.srs import Srs
from epost.routes import Router, decideRoute
from epost.smtp import wording
from epost.tables.directory import Directory
from epost.tables.lists import List
from epost.tables.memo import Memo
from epost.tables.ways import Way

COPIES = 100  # with Delivered-To; those beyond share one without: of a loop of theirs Received is the end

_FOREIGN = Because("srs", 0, "no address that was made here lately, or no returned message")


@implementer(IExpansion)
class Expansion(Router):
    """
    A router that knows what becomes of a message.

    @param directory: gives what is in force.
    @param srs: rewrites reverse paths; L{None}: they stay.
    @param seconds: tells the time, since 1970.
    """

    def __init__(
        self, directory: Callable[[], Directory], srs: Srs | None = None, seconds: Callable[[], float] = lambda: 0.0
    ) -> None:
        super().__init__(directory)
        self._srs = srs
        self._seconds = seconds
        self._direct = Memo(directory, self._findDirect)
        self._members = Memo(directory, _ends)
        self._memberRoutes = Memo(directory, _routes)

    def expand(self, address: Address) -> tuple[Address, ...]:
        """See L{IRouter}. An address of SRS leads to that from which it was made."""
        original = self.original(address)
        return super().expand(address) if original is None else (original,)

    def isRewritten(self, address: Address) -> bool:
        """Whether an address of ours can only be one of SRS."""
        directory = self._directory()
        if self._srs is None or not self._srs.isOne(address) or not directory.isLocal(address.domain):
            return False
        return not directory.isName(address)

    def original(self, address: Address) -> Address | None:
        """What was rewritten to an address; L{None} where it is no address of SRS, was not made here, or is too old."""
        if self._srs is None or not self.isRewritten(address):
            return None
        return self._srs.reverse(address, self._seconds())

    def returned(self, client: Client, path: Address | None, forward: Address) -> Decision | None:
        """
        Decide about RCPT to an address of SRS: notices come in from anywhere, what is forged does not.

        @param path: the reverse path.
        @return: L{None} where C{forward} is no such address.
        """
        if not self.isRewritten(forward):
            return None
        original = self.original(forward)
        person = client.account is not None or client.submission  # returns nothing; it would be a way to the outside
        if original is None or path is not None or person:
            return Decision(wording.unknownUser(forward), _FOREIGN)
        return Decision(wording.recipientOk(forward), Because("srs", 0, f"returned to {original}"))

    def direct(self, address: Address) -> Route | None:
        """See L{IExpansion}."""
        return self._direct(address.text, address)

    def copies(self, envelope: Envelope) -> tuple[Copy, ...]:
        """See L{IExpansion}."""
        directory = self._directory()
        direct: dict[Address, None] = {}
        onward: dict[Address, dict[Address, Way]] = {}  # by what the client named
        lists: dict[Address, List] = {}
        for path in envelope.recipients:
            if self._direct(path.text, path) is not None:
                direct[path] = None
                continue
            for way in self._ways(directory, path):
                one = directory.lists.find(way.address)
                if one is not None:
                    lists[one.address] = one
                elif way.by is None or not _leaves(directory, way.by, way.address):
                    direct[way.address] = None
                else:
                    onward.setdefault(directory.normal(path), {})[way.address] = way
        if not onward and not lists:
            ends = tuple(direct)
            return (Copy(envelope if ends == envelope.recipients else replace(envelope, recipients=ends)),)
        found = [Copy(replace(envelope, recipients=tuple(direct)))] if direct else []
        found += (self._distributed(directory, envelope, one) for one in lists.values())
        taken = set(direct)
        for path, ways in onward.items():
            found += self._sentOn(directory, envelope, path, {end: w for end, w in ways.items() if end not in taken})
            taken |= set(ways)
        return _gathered(found) if len(found) > COPIES else tuple(found)

    def routes(self, copy: Copy) -> Set[Route]:
        """See L{IExpansion}. Those of a list's thousand members are decided once."""
        recipients = copy.envelope.recipients
        if copy.list:
            return self._memberRoutes(copy.list, recipients)
        return {self.route(address) for address in recipients}

    def _findDirect(self, directory: Directory, path: Address) -> Route | None:
        """See L{direct}."""
        if self.isRewritten(path) or directory.lists.find(path) is not None:
            return None
        alone = [way.address is path for way in directory.ways(path)] == [True]
        return decideRoute(directory, path) if alone else None

    def _ways(self, directory: Directory, path: Address) -> tuple[Way, ...]:
        original = self.original(path)
        return directory.ways(path) if original is None else (Way(original),)

    def _sentOn(
        self, directory: Directory, envelope: Envelope, path: Address, ways: dict[Address, Way]
    ) -> Iterator[Copy]:
        """The copy of what one address leads to the outside; one for each reverse path."""
        if not ways:
            return
        ends = directory.expand(path)
        accounts = [account for way in ways.values() if way.by and (account := directory.accounts.find(way.by))]
        passed = tuple(dict.fromkeys(account.box for account in accounts if account.address not in ends))
        kept = any(directory.accounts.find(end) is not None for end in ends)
        groups: dict[Address | None, list[Address]] = {}
        for end, way in ways.items():
            groups.setdefault(self._sender(directory, envelope.sender, way), []).append(end)
        for sender, recipients in groups.items():
            changed = replace(envelope, sender=sender, recipients=tuple(recipients))
            yield Copy(changed, f"Delivered-To: {path}\r\n".encode(), by=path, kept=kept, passed=passed)
            passed = ()

    def _distributed(self, directory: Directory, envelope: Envelope, one: List) -> Copy:
        """
        The copy of a list.

        @raise Refused: it is a notice: whom should that be returned to?
        """
        if envelope.sender is None:
            raise Refused(wording.looping())
        members = self._members(one.address.key, one)
        front = listing.fields(one.address, one.name, one.keeper, one.post != "owner")
        return Copy(replace(envelope, sender=one.bounces, recipients=members), front, listing.identifier(one.address))

    def _sender(self, directory: Directory, sender: Address | None, way: Way) -> Address | None:
        """With which reverse path something is sent on."""
        if self._srs is None or sender is None or directory.isInside(sender):
            return sender
        assert way.by is not None
        return self._srs.forward(sender, way.by.domain, self._seconds())


def _leaves(directory: Directory, by: Address, end: Address) -> bool:
    """Whether an address of ours leads to the outside."""
    return by.domain in directory.local and not directory.isInside(end)


def _gathered(copies: list[Copy]) -> tuple[Copy, ...]:
    """Some copies, where there would be very many: one for each reverse path."""
    kept = [copy for copy in copies if copy.by is None]
    groups: dict[Address | None, Copy] = {}
    for copy in copies:
        if copy.by is not None:
            sender = copy.envelope.sender
            before = groups.get(sender) or Copy(replace(copy.envelope, recipients=()))
            recipients = (*before.envelope.recipients, *copy.envelope.recipients)
            groups[sender] = Copy(replace(copy.envelope, recipients=recipients))
    return (*kept, *groups.values())


def _ends(directory: Directory, one: List) -> tuple[Address, ...]:
    """Whom a list distributes to; one without members has its owner."""
    return tuple(_members(directory, one, {one.address})) or directory.expand(one.owner)


def _routes(directory: Directory, addresses: Sequence[Address]) -> Set[Route]:
    """The next places of some addresses."""
    return {decideRoute(directory, address) for address in addresses}


def _members(directory: Directory, one: List, seen: set[Address]) -> "dict[Address, None]":
    """Where the members of a list are, each once; those of lists among them too, as members of this one."""
    found: dict[Address, None] = {}
    for member in one.members:
        for end in directory.expand(member):
            inner = directory.lists.find(end)
            if inner is None:
                found[end] = None
            elif end not in seen:
                seen.add(end)
                found.update(_members(directory, inner, seen))
    return found
