"""
Who may write to whom, by the tables alone: the matrix, the rules of effect.dat, and what accounts may not do.

All is pure: what a directory and a client say goes in, a L{Decision} with what decided it comes out, so that the
session, the daemon's log and whoever asks "what if" get the same answer. L{epost.admission} asks what needs more.

Who has logged in writes under names of its own alone. What an account may not do holds for whoever logged in as it,
and for its reverse path as far as anybody without AUTH is believed. Whether a recipient is outside is told by the
address that the client names: where an alias, a list or somebody's forwarding leads outside, an administrator wants it.

Spec 3 (effect.dat, the matrix, relay domains), 5 (restrictions, postmaster).
"""

import enum
from collections.abc import Callable
from dataclasses import replace

from epost.interfaces import Usage
from epost.mail.address import Address
from epost.mail.decision import Because, Client, Decision, Scope
from epost.mail.reply import Reply
from epost.mail.route import Local
from epost.mail.value import value
from epost.smtp import wording
from epost.tables.accounts import Account
from epost.tables.directory import Directory
from epost.tables.effect import Kind, Rule
from epost.tables.hops import Destination
from epost.tables.restriction import Restriction

Restrict = Callable[[Local], Restriction]  # the sender.dat of a mailbox


class Row(enum.Enum):
    """The rows of the matrix."""

    ACCOUNT = "an internal account"
    UNKNOWN = "internal, but no account"
    OUTSIDE = "from outside"


_ROWS = {row: Because("matrix", 0, row.value) for row in Row}
_OWN_LITERAL = Because("matrix", 0, "a sender at the address of this server")
_NULL = Because("matrix", 0, "the null reverse path, from a client that submits")
_TO_ACCOUNT = Because("matrix", 0, "to an internal account")


def row(directory: Directory, client: Client, path: Address | None) -> Row:
    """
    Which row of the matrix a sender stands in.

    A reverse path alone can be written by anybody: the internal rows are for clients that authenticated or that are in
    [relay] networks, and not in gateways: those pass on what strangers wrote. A null one is ours where the machine is a
    next hop of gateway.dat, whose notices must get out.
    """
    if path is None:
        return Row.ACCOUNT if client.address in directory.hops.machines else Row.OUTSIDE
    if client.account is None and not directory.believes(client.address):
        return Row.OUTSIDE
    if directory.isLocal(path.domain):
        return Row.ACCOUNT if directory.exists(path) else Row.UNKNOWN
    return Row.OUTSIDE if client.account is None else Row.ACCOUNT


def isExempt(directory: Directory, machine: str) -> bool:
    """Whether a machine may have any number of connections. @param machine: its IP address."""
    if machine in directory.gateways or machine in directory.hops.machines:
        return True
    rule = directory.effect.machine(machine)
    return rule is not None and rule.kind is Kind.TRUE


def isOurs(directory: Directory, client: Client, path: Address | None) -> bool:
    """Whether a sender is one of ours, whose missing header fields are added (spec 8)."""
    return path is not None and row(directory, client, path) is Row.ACCOUNT


def decideSender(directory: Directory, client: Client, path: Address | None, blank: bool = False) -> Decision:
    """
    Decide about MAIL. Of the client its address, its account and whether it came to submit have a say.

    @param path: the reverse path; L{None} for the null one.
    @param blank: whether nothing stood behind C{MAIL FROM:}.
    @return: accepted with the scope that RCPT goes by, or refused.
    """
    if path is not None and path.domain in directory.literals:
        # No other server knows that it is one of ours, so no rule of a gateway would hold for it.
        return Decision(wording.noAccount(), _OWN_LITERAL)
    rule = directory.rule(client.address, path, blank)
    if rule is not None and rule.refuses and not _lifted(rule, client):
        return Decision(wording.invalidSender(), rule.because)
    if blank:
        because = rule.because if rule is not None else Because("matrix", 0, "nothing behind MAIL FROM:")
        return Decision(wording.badArgument("MAIL FROM:<address>"), because)
    if rule is not None and rule.kind in (Kind.TRUE, Kind.ONLY):
        if path is not None and directory.isLocal(path.domain) and not directory.exists(path):
            return Decision(wording.noAccount(), _ROWS[Row.UNKNOWN])
        decision = Decision(wording.senderOk(path), rule.because, Scope.ANYWHERE)
    else:
        decision = _byMatrix(directory, client, path, rule)
    if not decision.accepts:
        return decision
    return replace(_narrowed(directory, client, path, decision), ours=isOurs(directory, client, path))


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


def _narrowed(directory: Directory, client: Client, path: Address | None, decision: Decision) -> Decision:
    """What was decided, within what the account of a client may do."""
    if path is None:
        # The gateway's rules could not see whose it is.
        return replace(decision, because=_NULL, scope=Scope.INSIDE) if client.account or client.submission else decision
    foreign = _foreign(directory, client.account, path) if client.account is not None else None
    if foreign is not None:
        return Decision(wording.notYours(), foreign)
    limits = [account.details.messageOctets for account in writers(directory, client, path, decision)]
    return replace(decision, octets=max(limits)) if limits and 0 not in limits else decision


def _foreign(directory: Directory, name: Address, path: Address) -> Because | None:
    """Why an account may not write as somebody; L{None}: it may."""
    account = directory.account(name)
    if account is None or account.details.disabled:
        return _gone(directory, name)
    granted = any(map(account.details.grants, (path, directory.normal(path))))
    if granted or account in directory.named(path):
        return None
    return Because("matrix", 0, f"<{path}> is no address of {account.address}")


def _gone(directory: Directory, name: Address) -> Because | None:
    """Why an account that has logged in sends no more; L{None}: it may."""
    account = directory.account(name)
    if account is None:
        return Because("matrix", 0, f"{name} is no account any more")
    return account.details.lines["disabled"] if account.details.disabled else None


def writers(directory: Directory, client: Client, path: Address | None, sender: Decision) -> "tuple[Account, ...]":
    """
    Whose restrictions hold for what a client sends.

    @return: the account that has logged in. Without AUTH those that the reverse path names, several where it is a
        group, if the client is believed: it is in [relay] networks, or may write to the outside for another reason.
    """
    if client.account is not None:
        account = directory.account(client.account)
        return (account,) if account is not None else ()
    if path is None or not directory.isLocal(path.domain) or not _believed(directory, client, sender):
        return ()
    return directory.named(path)


def _believed(directory: Directory, client: Client, sender: Decision) -> bool:
    """Whether a reverse path of ours is taken for whose it is."""
    if client.account is not None or directory.believes(client.address):
        return True
    return sender.scope is Scope.ANYWHERE and client.address not in directory.gateways


@value(frozen=True, slots=True)
class Target:
    """
    What the tables say of a forward path, whoever writes to it.

    @ivar inside: whether it is ours.
    @ivar exists: whether, being ours, it is somebody.
    @ivar relay: what makes it a relay domain's, being none of ours.
    @ivar ok: what is said where it is taken.
    @ivar account: the only account in whose mailbox it ends; L{None} where it ends elsewhere, or in several.
    """

    inside: bool
    exists: bool
    relay: Destination | None
    ok: Reply
    account: Account | None = None


def target(directory: Directory, forward: Address) -> Target:
    """Look it up."""
    ok = wording.recipientOk(forward)
    if not directory.isInside(forward):
        return Target(False, False, directory.hops.relay(forward.domain), ok)
    ends = directory.expand(forward)
    account = directory.accounts.find(ends[0]) if len(ends) == 1 else None
    return Target(True, directory.exists(forward), None, ok, account)


def decideRecipient(
    directory: Directory,
    client: Client,
    path: Address | None,
    sender: Decision,
    forward: Address,
    restrict: Restrict = lambda box: Restriction(),
    known: Target | None = None,
) -> Decision:
    """
    Decide about RCPT; mailbox limits, allowances and verification aside.

    @param sender: what was decided about MAIL; a refusal of an address outside names what decided that.
    @param restrict: gives the sender.dat of an account.
    @param known: C{forward}, where it was looked up.
    """
    gone = _gone(directory, client.account) if client.account is not None else None
    if gone is not None:
        return Decision(wording.notYours(), gone)
    known = known or target(directory, forward)
    inside, relay = known.inside, known.relay
    if inside and not known.exists:
        return Decision(wording.unknownUser(forward), Because("matrix", 0, "to an internal address without account"))
    if not inside and relay is None and sender.scope is not Scope.ANYWHERE:
        return Decision(wording.relaying(forward), sender.because)
    people = writers(directory, client, path, sender)
    refusal = None
    if people:
        refusals = [_restricted(directory, account, forward, inside, restrict) for account in people]
        refusal = refusals[0] if all(refusals) else None  # of a group, one who may is enough
    if refusal is None and inside and len(directory.lists):
        believed = _believed(directory, client, sender)
        refusal = _unwanted(directory, {account.address for account in people}, path, believed, forward)
    if refusal is not None:
        return refusal
    if inside:
        return Decision(known.ok, _TO_ACCOUNT)
    if relay is not None:
        return Decision(known.ok, relay.because)
    return Decision(known.ok, sender.because, Scope.ANYWHERE)


def _restricted(
    directory: Directory, account: Account, forward: Address, inside: bool, restrict: Restrict
) -> Decision | None:
    """The refusal of a recipient to whom an account may not write."""
    if not inside and not account.details.outside:
        return Decision(wording.restricted(), account.details.lines["outside"])
    if inside and forward.key[0] == "postmaster":
        return None  # whom one has to be able to ask (RFC 5321 4.5.1)
    restriction = restrict(account.box)
    if restriction.broken is not None:
        return Decision(wording.notNow(), restriction.broken)
    because = restriction.forbids(directory.normal(forward), directory.aliased(forward))
    return None if because is None else Decision(wording.restricted(), because)


def _unwanted(
    directory: Directory, people: set[Address], path: Address | None, believed: bool, forward: Address
) -> Decision | None:
    """
    What a list that an address is, or leads to, says to a sender whom it does not take.

    A null one is not refused here, though no list takes a notice: it is also how other servers, our gateway among them,
    ask whether an address is there. They are told to ask with a sender.

    @param people: the accounts that write.
    @param believed: whether a path of ours is taken for whose it is.
    """
    if path is not None and (believed or not directory.isLocal(path.domain)):
        people.add(directory.normal(path))
    for one in map(directory.lists.find, directory.aliased(forward)):
        if one is None:
            continue
        posters = directory.posters[one.address.key]
        if posters is not None and not people & posters:
            reply = wording.posting(forward) if path is not None else wording.dependsOnSender(forward)
            return Decision(reply, one.because)
    return None


def boxLimit(directory: Directory, account: Account) -> Usage:
    """What an account's mailbox may hold; 0: any number."""
    return Usage(account.octets or directory.ground.boxOctets, account.details.mailboxMessages)
