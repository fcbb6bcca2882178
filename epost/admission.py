"""
Who may write to whom: the decisions behind IAdmission.

The two functions are pure: what a directory and a client say goes in, a L{Decision} with what decided it comes out, so
that the session, the daemon's log and whoever asks "what if" get the same answer. The class asks the two things that
need more than tables: whether a mailbox is full, and whether the next hop knows a recipient.

Spec 3 (effect.dat, the matrix, relay domains), 5 (limits, postmaster, verification).
"""

import enum
from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from epost.interfaces import IAdmission, IInbox
from epost.mail.address import Address
from epost.mail.decision import Because, Client, Decision, Scope
from epost.mail.reply import Refused
from epost.smtp import wording
from epost.tables.directory import Directory
from epost.tables.effect import Kind, Rule

Verify = Callable[[Address], "Decision | Deferred[Decision] | None"]


class Row(enum.Enum):
    """The rows of the matrix."""

    ACCOUNT = "an internal account"
    UNKNOWN = "internal, but no account"
    OUTSIDE = "from outside"


_ROWS = {row: Because("matrix", 0, row.value) for row in Row}
_OWN_LITERAL = Because("matrix", 0, "a sender at the address of this server")
_TO_ACCOUNT = Because("matrix", 0, "to an internal account")


def row(directory: Directory, client: Client, path: Address | None) -> Row:
    """
    Which row of the matrix a sender stands in.

    A reverse path alone can be written by anybody: the internal rows are for clients that authenticated or that are in
    [relay] networks. A null one is ours where the machine is a next hop of gateway.dat, whose notices must get out.
    """
    if path is None:
        return Row.ACCOUNT if client.address in directory.hops.machines else Row.OUTSIDE
    if client.account is None and client.address not in directory.networks:
        return Row.OUTSIDE
    if directory.isLocal(path.domain):
        return Row.ACCOUNT if directory.exists(path) else Row.UNKNOWN
    return Row.OUTSIDE if client.account is None else Row.ACCOUNT


def isOurs(directory: Directory, client: Client, path: Address | None) -> bool:
    """Whether a sender is one of ours, whose missing header fields are added (spec 8)."""
    return path is not None and row(directory, client, path) is Row.ACCOUNT


def decideSender(directory: Directory, client: Client, path: Address | None, blank: bool = False) -> Decision:
    """
    Decide about MAIL.

    @param path: the reverse path; L{None} for the null one.
    @param blank: whether nothing stood behind C{MAIL FROM:}.
    @return: accepted with the scope that RCPT goes by, or refused.
    """
    if path is not None and path.domain in directory.literals:
        # No other server knows that it is one of ours, so no rule of a gateway would hold for it.
        return Decision(wording.noAccount(), _OWN_LITERAL)
    rule = directory.effect.first(client.address, path, blank)
    if rule is not None and rule.refuses and not _lifted(rule, client):
        return Decision(wording.invalidSender(), rule.because)
    if blank:
        because = rule.because if rule is not None else Because("matrix", 0, "nothing behind MAIL FROM:")
        return Decision(wording.badArgument("MAIL FROM:<address>"), because)
    if rule is not None and rule.kind in (Kind.TRUE, Kind.ONLY):
        if path is not None and directory.isLocal(path.domain) and not directory.exists(path):
            return Decision(wording.noAccount(), _ROWS[Row.UNKNOWN])
        return Decision(wording.senderOk(path), rule.because, Scope.ANYWHERE)
    return _byMatrix(directory, client, path, rule)


def _lifted(rule: Rule, client: Client) -> bool:
    """Whether AUTH lifts a rule."""
    return rule.lifts and client.account is not None


def _byMatrix(directory: Directory, client: Client, path: Address | None, rule: Rule | None) -> Decision:
    """Where no line decided alone: the matrix, narrowed by norelay and by only."""
    found = row(directory, client, path)
    because = _ROWS[found]
    if found is Row.UNKNOWN:
        return Decision(wording.noAccount(), because)
    inside = Decision(wording.senderOk(path), because)
    if found is Row.OUTSIDE:
        return inside
    if rule is None and directory.effect.only is not None:
        return Decision(inside.reply, directory.effect.only.because)
    if rule is not None and rule.kind is Kind.NORELAY and not _lifted(rule, client):
        return Decision(inside.reply, rule.because)
    return Decision(inside.reply, because, Scope.ANYWHERE)


def decideRecipient(
    directory: Directory, client: Client, path: Address | None, sender: Decision, forward: Address
) -> Decision:
    """
    Decide about RCPT, mailbox limits and verification aside.

    @param sender: what was decided about MAIL; a refusal of an address outside names what decided that.
    """
    if directory.isLocal(forward.domain) or directory.postmasterFor(forward) is not None:
        if directory.exists(forward):
            return Decision(wording.recipientOk(forward), _TO_ACCOUNT)
        return Decision(wording.unknownUser(forward), Because("matrix", 0, "to an internal address without account"))
    relay = directory.hops.relay(forward.domain)
    if relay is not None:
        return Decision(wording.recipientOk(forward), relay.because)
    if sender.scope is Scope.ANYWHERE:
        return Decision(wording.recipientOk(forward), sender.because, Scope.ANYWHERE)
    return Decision(wording.relaying(forward), sender.because)


@implementer(IAdmission)
class Admission:
    """
    The decisions, by the directory that is in force at that moment.

    @param directory: gives it.
    @param inbox: the mailboxes; L{None} on a gateway.
    @param verify: asks about a recipient in a relay domain, and answers L{None} where it does not know; L{None}: nobody
        is asked.
    """

    def __init__(
        self, directory: Callable[[], Directory], inbox: IInbox | None = None, verify: Verify | None = None
    ) -> None:
        self._directory = directory
        self._inbox = inbox
        self._verify = verify

    def exempt(self, client: Client) -> bool:
        """See L{IAdmission}."""
        directory = self._directory()
        rule = directory.effect.machine(client.address)
        return client.address in directory.hops.machines or (rule is not None and rule.kind is Kind.TRUE)

    def ours(self, client: Client, path: Address | None) -> bool:
        """Whether a sender is one of ours; see L{isOurs}."""
        return isOurs(self._directory(), client, path)

    def sender(self, client: Client, path: Address | None, blank: bool) -> Decision:
        """See L{IAdmission}."""
        return decideSender(self._directory(), client, path, blank)

    def recipient(
        self, client: Client, path: Address | None, sender: Decision, forward: Address
    ) -> "Decision | Deferred[Decision]":
        """See L{IAdmission}."""
        directory = self._directory()
        decision = decideRecipient(directory, client, path, sender, forward)
        if not decision.accepts:
            return decision
        if directory.isLocal(forward.domain):
            return self._full(directory, forward) or decision
        # Postmaster is taken whatever the next hop says (RFC 5321 4.5.1).
        if self._verify is None or forward.key[0] == "postmaster" or not directory.hops.relay(forward.domain):
            return decision
        return self._verify(forward) or decision

    def _full(self, directory: Directory, forward: Address) -> Decision | None:
        """The refusal of a recipient whose mail would find only full mailboxes; L{None} where there is room."""
        if self._inbox is None:
            return None
        because = None
        for address in directory.expand(forward):
            account = directory.account(address)
            limit = (account.octets or directory.ground.boxOctets) if account else 0
            if account is None or not limit:
                return None
            try:
                octets = self._inbox.usage(account.box)
            except Refused as refused:
                return Decision(refused.reply, Because("limit", 0, f"{account.address}: its mailbox cannot be read"))
            if octets < limit:
                return None
            because = Because("limit", 0, f"the mailbox of {account.address} holds {octets} of {limit} octets")
        return Decision(wording.boxFull(), because) if because else None
