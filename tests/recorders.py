"""Fakes that record, shared by tests of several rooms. Each claims its interface."""

from collections.abc import Sequence

from zope.interface import implementer

from epost.interfaces import IReceiveLog, ISenderLog
from epost.mail.address import Address
from epost.mail.name import Name
from epost.mail.reply import Reply


@implementer(ISenderLog)
class SenderLogRecorder:
    """Keeps every call as a tuple: its name, then its arguments, names and replies as text."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def trying(self, name: Name, domain: str, now: float, then: float, tries: int) -> None:
        """See L{ISenderLog}."""
        self.calls.append(("trying", str(name), domain, now, then, tries))

    def connecting(self, name: Name, host: str) -> None:
        """See L{ISenderLog}."""
        self.calls.append(("connecting", str(name), host))

    def heard(self, name: Name, reply: Reply) -> None:
        """See L{ISenderLog}."""
        self.calls.append(("heard", str(name), str(reply)))

    def said(self, name: Name, command: str) -> None:
        """See L{ISenderLog}."""
        self.calls.append(("said", str(name), command))

    def returning(
        self, name: Name, sender: Address, domain: str, server: str, now: float, then: float, tries: int
    ) -> None:
        """See L{ISenderLog}."""
        self.calls.append(("returning", str(name), str(sender), domain, server, now, then, tries))


@implementer(IReceiveLog)
class ReceiveLogRecorder:
    """Keeps the lines of each connection. @ivar ended: the connections that are closed."""

    def __init__(self) -> None:
        self.heard: dict[int, list[str]] = {}
        self.ended: list[int] = []

    def lines(self, connection: int, texts: Sequence[str]) -> None:
        """See L{IReceiveLog}."""
        self.heard.setdefault(connection, []).extend(texts)

    def closed(self, connection: int, texts: Sequence[str] = ()) -> None:
        """See L{IReceiveLog}."""
        self.lines(connection, texts)
        self.ended.append(connection)
