"""
What C{epost setup} was answered, and what it writes, as values. No password is here, only what proves it.
"""

from dataclasses import dataclass, field

from epost.mail.address import Address
from epost.mail.route import Hop

CONFIGURATION, STATE = "/etc/epost", "/var/lib/epost"  # as the units of etc/systemd have them


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What was answered.

    @ivar name: the gateway's name in the DNS, which is the one that everybody sees.
    @ivar domain: of the mail addresses.
    @ivar account: the first one; it is postmaster too.
    @ivar secret: the column Pass.
    @ivar networks: the office's, whose programs may send without login.
    @ivar backend: the address of its machine; L{None}: both halves run on this one.
    @ivar gateway: likewise.
    @ivar folder: for the configuration, absolute.
    @ivar data: for mail and logs, absolute.
    @ivar smarthost: who takes the mail for outside; L{None}: whoever the DNS names.
    @ivar port: where the gateway takes mail.
    @ivar inner: where the back-end takes mail from the gateway.
    @ivar submission: where the back-end takes mail from people who log in, and TLS begins with STARTTLS.
    @ivar submissions: the same, and TLS comes first.
    @ivar twistd: the command.
    """

    name: str
    domain: str
    account: Address
    secret: str = field(repr=False)
    networks: tuple[str, ...]
    backend: str | None
    gateway: str | None
    folder: str
    data: str
    smarthost: Hop | None
    port: int
    inner: int
    submission: int
    submissions: int
    twistd: str

    @property
    def both(self) -> bool:
        """Whether both halves run on this machine."""
        return self.backend is None

    @property
    def hosts(self) -> list[str]:
        """By which names and addresses programs come to us."""
        return [self.name, self.domain, *([self.backend] if self.backend else [])]


@dataclass(frozen=True, slots=True)
class File:
    """One file. @ivar mode: its rights."""

    octets: bytes
    mode: int = 0o644
