"""
The decisions behind IAdmission: those of L{epost.matrix}, and what needs more than tables.

Whether a mailbox is full, how much an account has sent, whether the next hop knows a recipient, and whether an address
of SRS was made here.

Spec 5 (limits, postmaster, verification).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred
from zope.interface import implementer

from epost.interfaces import IAdmission, IAllowance, IInbox, Usage
from epost.mail.address import Address
from epost.mail.decision import Because, Client, Decision, Spent
from epost.mail.reply import Refused
from epost.mail.route import Local
from epost.matrix import Restrict, Target, boxLimit, decideRecipient, decideSender, isExempt, target, writers
from epost.smtp import wording
from epost.tables.accounts import Account
from epost.tables.directory import Directory
from epost.tables.memo import Memo
from epost.tables.restriction import Restriction

Verify = Callable[[Address, Address | None], "Decision | Deferred[Decision] | None"]
Returned = Callable[[Client, Address | None, Address], "Decision | None"]


@implementer(IAdmission)
class Admission:
    """
    The decisions, by the directory that is in force at that moment.

    @param directory: gives it.
    @param inbox: the mailboxes; L{None} on a gateway.
    @param verify: asks about a recipient in a relay domain, for a sender where that has a say; it answers L{None} where
        it does not know. L{None}: nobody is asked.
    @param restrict: gives the sender.dat of a mailbox.
    @param allowance: counts what accounts send to the outside; L{None}: nobody does.
    @param returned: decides about a recipient that can only be an address of SRS, and answers L{None} to all others;
        L{None}: there is no SRS.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        inbox: IInbox | None = None,
        verify: Verify | None = None,
        restrict: Restrict = lambda box: Restriction(),
        allowance: IAllowance | None = None,
        returned: Returned | None = None,
    ) -> None:
        self._directory = directory
        self._inbox = inbox
        self._verify = verify
        self._restrict = restrict
        self._allowance = allowance
        self._returned = returned
        self._exempt = Memo(directory, isExempt)
        self._senders = Memo(directory, decideSender)
        self._targets = Memo(directory, target)

    def exempt(self, client: Client) -> bool:
        """See L{IAdmission}."""
        return self._exempt(client.address, client.address)

    def sender(self, client: Client, path: Address | None, blank: bool) -> Decision:
        """See L{IAdmission}."""
        key = (client.address, client.account, client.submission, path and path.text, blank)
        return self._senders(key, client, path, blank)

    def limit(self, box: Local) -> Usage:
        """What a mailbox may hold; 0: any number."""
        directory = self._directory()
        account = directory.accounts.at(box)
        return Usage() if account is None else boxLimit(directory, account)

    def recipient(
        self,
        client: Client,
        path: Address | None,
        sender: Decision,
        forward: Address,
        taken: Sequence[Address] = (),
    ) -> "Decision | Deferred[Decision]":
        """See L{IAdmission}."""
        if self._returned is not None and (returned := self._returned(client, path, forward)) is not None:
            return returned
        directory, known = self._directory(), self._targets(forward.text, forward)
        decision = decideRecipient(directory, client, path, sender, forward, self._restrict, known)
        if not decision.accepts:
            return decision
        if known.inside:
            return self._full(directory, known, forward) or decision
        spent = None
        if self._allowance is not None:
            counted = self._spent(self._allowance, directory, writers(directory, client, path, sender), taken)
            if isinstance(counted, Because):
                return Decision(wording.sentTooMuch(), counted)
            spent = counted
        # Postmaster is taken whatever the next hop says (RFC 5321 4.5.1).
        if self._verify is None or forward.key[0] == "postmaster" or known.relay is None:
            return self._billed(decision, spent)
        verdict = self._verify(forward, path) or decision
        if isinstance(verdict, Decision):
            return self._billed(verdict, spent)
        return verdict.addCallback(self._billed, spent)

    def giveBack(self, spent: Sequence[Spent]) -> None:
        """See L{IAdmission}."""
        assert self._allowance is not None, "nobody else counts"
        for each in spent:
            self._allowance.giveBack(each)

    def _billed(self, decision: Decision, spent: Spent | None) -> Decision:
        """A decision with what was counted for it; where it refuses that is given back."""
        if spent is None:
            return decision
        if decision.accepts:
            return replace(decision, spent=spent)
        self.giveBack((spent,))
        return decision

    def _spent(
        self, allowance: IAllowance, directory: Directory, people: Sequence[Account], taken: Sequence[Address]
    ) -> Because | Spent | None:
        """
        Count a recipient outside. In the name of a group nobody in particular has sent.

        @return: what forbids it, or what was counted; L{None}: nothing was.
        """
        if len(people) != 1 or not people[0].details.allowed.limited:
            return None
        first = all(map(directory.isInside, taken))
        return allowance.spend(people[0].address, people[0].details.allowed, first)

    def _full(self, directory: Directory, known: Target, forward: Address) -> Decision | None:
        """
        The refusal of a recipient whose mail would find only full mailboxes; L{None} where there is room.

        Of an account whose mail is sent on too its own mailbox decides: else it would grow without end.
        """
        if self._inbox is None:
            return None
        if known.account is not None:
            return self._fullBox(directory, known.account, self._inbox)
        places = [directory.accounts.find(address) for address in directory.expand(forward)]
        named = directory.named(forward) if len(places) > 1 else ()
        if len(named) == 1 and named[0] in places:
            places = [named[0]]
        refusal = None
        for account in places:
            refusal = None if account is None else self._fullBox(directory, account, self._inbox)
            if refusal is None:
                return None
        return refusal

    def _fullBox(self, directory: Directory, account: Account, inbox: IInbox) -> Decision | None:
        """The refusal of a mailbox that is full; L{None} where it has room."""
        limit = boxLimit(directory, account)
        if limit == Usage():
            return None
        try:
            usage = inbox.usage(account.box)
        except Refused as refused:
            return Decision(refused.reply, Because("limit", 0, f"{account.address}: its mailbox cannot be read"))
        if limit.octets and usage.octets >= limit.octets:
            full = f"{usage.octets} of {limit.octets} octets"
        elif limit.messages and usage.messages >= limit.messages:
            full = f"{usage.messages} of {limit.messages} messages"
        else:
            return None
        return Decision(wording.boxFull(), Because("limit", 0, f"the mailbox of {account.address} holds {full}"))
