"""
Where mail goes: the decisions behind IRouter, in the order of spec 4.

A mailbox here, else gateway.dat, else for a domain of ours nowhere, else SMTPゲートウェイ, else the exchanges of the
domain. A server without mailboxes passes the mail for its own domains on as well ("全受信メールを…転送" is ON).
"""

from collections.abc import Callable

from zope.interface import implementer

from epost.interfaces import IRouter
from epost.mail.address import Address
from epost.mail.route import Hop, Nowhere, Onward, Route
from epost.smtp import wording
from epost.tables.directory import Directory
from epost.tables.memo import Memo


def decideRoute(directory: Directory, address: Address) -> Route:
    """The next place of an address after aliases."""
    address = directory.normal(address)
    ground = directory.ground
    if ground.mailboxes:
        account = directory.accounts.find(address)
        if account is not None:
            return account.box
    found = directory.hops.find(address.domain)
    if found is not None:
        return found.route
    if directory.isLocal(address.domain) and (ground.mailboxes or not directory.exists(address)):
        return Nowhere(wording.unknownUser(address))
    if ground.gateway is not None:
        return Onward(str(ground.gateway), (ground.gateway,), forwards=True)
    if directory.isLocal(address.domain):
        return Nowhere(wording.unknownUser(address))
    if address.domain.startswith("["):  # an address literal is its own host (RFC 5321 5.1)
        return Onward(address.domain, (Hop(address.domain[1:-1].removeprefix("IPv6:")),))
    return Onward(address.domain)


@implementer(IRouter)
class Router:
    """
    The decisions, by the directory that is in force at that moment.

    @param directory: gives it.
    """

    def __init__(self, directory: Callable[[], Directory]) -> None:
        self._directory = directory
        self._routes = Memo(directory, decideRoute)

    def expand(self, address: Address) -> tuple[Address, ...]:
        """See L{IRouter}."""
        return self._directory().expand(address)

    def route(self, address: Address) -> Route:
        """See L{IRouter}."""
        return self._routes(address.text, address)
