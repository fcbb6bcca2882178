"""
Where a recipient's mail goes next (spec 4): into a mailbox, onward to another host, into hold, or nowhere.

A route is what the router knows without asking anybody; the exchanges of a domain are looked up by the carrier when the
message is due.
"""

from dataclasses import dataclass

from epost.mail.reply import Reply


@dataclass(frozen=True, slots=True)
class Hop:
    """A host that takes mail. @ivar host: name or IP address, no brackets. @ivar port: TCP port."""

    host: str
    port: int = 25

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Local:
    """
    A mailbox here.

    @ivar user: the local part of the account, lower case: C{%USERNAME%}.
    @ivar domain: its domain, lower case: C{%DOMAIN%}.
    """

    user: str
    domain: str


@dataclass(frozen=True, slots=True)
class Onward:
    """
    Another host. Messages with equal routes can share a transaction and a connection.

    @ivar destination: what the limit per destination counts by: the recipient's domain where exchanges are looked up,
        else the hops as text.
    @ivar hops: the hosts to try in order; empty: look up the exchanges of C{destination}.
    @ivar forwards: whether a table or a setting named the hops, so that a 5xx gets another try (spec 10).
    """

    destination: str
    hops: tuple[Hop, ...] = ()
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """Stays in C{holding} until the table says otherwise. @ivar because: file and line, for the operator."""

    because: str


@dataclass(frozen=True, slots=True)
class Nowhere:
    """There is no way. @ivar reply: what the sender is told."""

    reply: Reply


Route = Local | Onward | Held | Nowhere
