"""
Every setting of both daemons: its name, its form, its default and what it means, once, here.

A section of the TOML file is a class, a key is a field. What is read is what stands in the field: seconds, octets,
addresses. The reference page in docs/ is made from this file, and so are the words of an error.
"""

# ruff: noqa: RUF009  (key makes a field, as dataclasses.field does)

from dataclasses import MISSING, dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from epost import forms
from epost.forms import Form
from epost.mail.address import Address
from epost.mail.route import Hop


def key(form: Form, default: object, doc: str, only: str = "", example: object = None) -> Any:
    """
    A setting.

    @param form: how it is written.
    @param default: as it would be written; L{MISSING}: it must be there; L{None}: nothing.
    @param doc: one or two sentences; seconds and octets are told by the form.
    @param only: the kind of daemon that knows it; empty: both.
    @param example: as it would be written.
    """
    notes = MappingProxyType({"form": form, "default": default, "doc": doc, "only": only, "example": example})
    if default is MISSING:
        return field(metadata=notes)
    return field(default=None if default is None else form.read(default), metadata=notes)


@dataclass(frozen=True, slots=True)
class Server:
    """The daemon itself."""

    name: str = key(forms.DOMAIN, MISSING, "Its name in the banner, in HELO and in Received.", example="test.jp")
    folder: str = key(
        forms.TEXT,
        MISSING,
        "The work folder, where incoming, holding, dead, senderlog and receivelog are made. One daemon has one folder.",
        example="../var/backend",
    )
    listen: tuple[str, ...] = key(
        forms.ENDPOINTS,
        MISSING,
        "Where clients connect: endpoints as Twisted writes them.",
        example=["tcp:2525:interface=127.0.0.1"],
    )
    postmaster: Address | None = key(
        forms.ADDRESS,
        None,
        "Who gets mail for postmaster without a domain and at the server's own name.",
        "gateway",
        "bucho@test.jp",
    )


@dataclass(frozen=True, slots=True)
class Domains:
    """運用ドメイン: the domains whose addresses are known here. The gateway needs none."""

    local: tuple[str, ...] = key(forms.DOMAINS, [], "The domains. The back-end needs one.", example=["test.jp"])
    accounts: str | None = key(forms.TEXT, None, "The table of accounts.", example="accounts.dat")
    details: str | None = key(
        forms.TEXT, None, "What each account may do, beside the table of accounts.", example="accounts.toml"
    )
    aliases: str | None = key(forms.TEXT, None, "The table of aliases.", example="aliases.dat")
    lists: str | None = key(forms.TEXT, None, "The table of mailing lists.", "backend", "lists.toml")
    separator: str = key(
        forms.choice("", "+", "-", "=", "_"),
        "",
        "What divides a local part from a tag that its owner made up: with + mail for user1+shop@test.jp is for user1. "
        "The gateway needs the same, or a tag is a way round its effect.dat. Empty: nothing does.",
        example="+",
    )
    postmaster: Address | None = key(
        forms.ADDRESS,
        None,
        "The account that gets mail for postmaster, with and without domain (RFC 5321 4.5.1).",
        "backend",
        "bucho@test.jp",
    )


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Where the mailboxes are: the back-end alone has some."""

    place: str = key(
        forms.PLACE,
        MISSING,
        "The folder of a mailbox, below the work folder. %USERNAME% stands for the account, %DOMAIN% for its domain; "
        "both \\ and / separate.",
        example="inbox\\%USERNAME%",
    )


@dataclass(frozen=True, slots=True)
class Relay:
    """Mail that goes on to other hosts."""

    gateway: Hop | None = key(
        forms.HOP,
        None,
        "SMTPゲートウェイ: the host that takes all mail for domains that are neither local nor in the table gateway. "
        "Without it the DNS is asked (MX).",
        example="192.168.0.103:25",
    )
    hello: str = key(forms.choice("EHLO", "HELO"), "EHLO", "How we greet. HELO does as E-Post's log shows.")
    networks: tuple[Any, ...] = key(
        forms.NETWORKS,
        ["127.0.0.0/8", "::1"],
        "Whose clients may write as an account of ours without AUTH. A reverse path alone can be written by anybody: "
        '["*"], as E-Post has it, makes an open relay of the server.',
        example=["127.0.0.0/8", "::1", "192.168.0.0/24"],
    )
    gateways: tuple[Any, ...] = key(
        forms.NETWORKS,
        [],
        "From where the gateway hands over what strangers sent: whoever comes from there may be a little above the "
        "limits of a message, as another server may, and without AUTH is nobody of ours, whatever networks says.",
        "backend",
        ["127.0.0.1", "::1"],
    )
    name_servers: tuple[Hop, ...] = key(
        forms.NAME_SERVERS,
        [],
        "The name servers to ask, port 53 if missing. Empty: those of the system.",
        example=["127.0.0.1:53"],
    )
    verify: bool = key(
        forms.FLAG,
        True,
        "Whether recipients in domains of the table gateway are checked by asking the next hop: unknown ones "
        "are refused, and for now those whose mailbox is full. No answer means yes.",
    )
    verify_known: float = key(forms.DURATION, "2h", "How long a recipient that was found is not asked about again.")
    verify_unknown: float = key(
        forms.DURATION,
        "10m",
        "How long one that was refused is not asked about again, nor one that takes mail of some senders alone about "
        "the same sender. A full mailbox is asked about each time.",
    )
    tls: str = key(
        forms.choice("none", "may", "verify"),
        "may",
        "TLS towards other hosts. may: where it is offered and works, with whomever. verify: with a certificate that "
        "is trusted and bears the host's name, or the message waits. none: never.",
    )
    tls_domains: tuple[tuple[str, str], ...] = key(
        forms.LEVELS,
        {},
        "tls for single destinations: by the recipient's domain where the DNS names the hosts, by the host where the "
        "table gateway or the key gateway names it.",
        example={"bank.example": "verify", "192.168.0.103": "none"},
    )
    tls_roots: str | None = key(
        forms.TEXT,
        None,
        "The certificates (PEM) that are trusted for verify, read at start. Without it those that the system trusts.",
        example="roots.pem",
    )


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Mail that accounts and aliases here send on to the outside."""

    srs: bool = key(
        forms.FLAG,
        False,
        "Whether mail from outside goes on with a reverse path of ours (SRS), so that the next server's SPF holds for "
        "us; what is returned to that is passed back. The key lies in srs.secret in the work folder.",
        "backend",
    )


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of rules, read again when they change."""

    effect: str | None = key(
        forms.TEXT, None, "The table of who may send mail through this server.", example="effect.dat"
    )
    gateway: str | None = key(
        forms.TEXT, None, "The table of domains and the hosts that take their mail.", example="gateway.dat"
    )


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificates. The files are read again when they change."""

    certificates: tuple[tuple[str, str], ...] = key(
        forms.CERTIFICATES,
        [],
        "Chain and key of each (PEM, the key without pass phrase). A client is shown the one whose names hold the name "
        "that it asks for, else the first.",
        example=[["fullchain.pem", "privkey.pem"]],
    )
    handshake: float = key(forms.DURATION, "30s", "How long a handshake may take, as a client and as a server.")


@dataclass(frozen=True, slots=True)
class Submission:
    """Where people hand over their mail: whoever does has logged in. For the back-end alone."""

    listen: tuple[str, ...] = key(
        forms.ENDPOINTS_OR_NONE,
        [],
        "Where they connect in clear and then say STARTTLS (RFC 6409); the port is 587 as a rule.",
        "backend",
        example=["tcp:587"],
    )
    listen_tls: tuple[str, ...] = key(
        forms.ENDPOINTS_OR_NONE,
        [],
        "Where TLS comes first (RFC 8314); the port is 465 as a rule.",
        "backend",
        example=["tcp:465"],
    )
    receiver: bool = key(
        forms.FLAG,
        False,
        "Whether who wants may log in where other servers connect too, on [server] listen.",
        "backend",
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message, mailbox or client may take."""

    message_octets: int = key(forms.count(1024), 26214400, "The size of a received message, in octets.")
    mailbox_octets: int = key(
        forms.count(), 0, "The size of a mailbox that has no limit in accounts.dat, in octets. 0: none."
    )
    recipients: int = key(forms.count(1), 100, "Recipients of one message (RFC 5321 4.5.3.1.8 wants 100 or more).")
    connections: int = key(
        forms.count(1), 12000, "Connections at one time. A tenth is kept for machines that have no limit of their own."
    )
    connections_per_address: int = key(
        forms.count(1),
        200,
        "Connections at one time from one IP address; of IPv6 from one network of 64 bits, and four times as many from "
        "one of 48. Machines of the table gateway and of true lines are exempt.",
    )
    errors: int = key(forms.count(1), 20, "Wrong commands after which a connection is closed.")
    received: int = key(forms.count(1), 100, "Received fields above which a message is refused as going in circles.")
    bare_line_ends: str = key(
        forms.choice("refuse", "repair"), "refuse", "What happens to content with a CR or LF that is no CRLF."
    )
    long_lines: str = key(
        forms.choice("accept", "refuse"), "accept", "What happens to content with lines above 998 octets."
    )


@dataclass(frozen=True, slots=True)
class Login:
    """AUTH, and what comes of failed logins. A network is here an IPv4 address or a /64 of IPv6."""

    mechanisms: tuple[str, ...] = key(
        forms.choices("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"),
        ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"],
        "What is offered, in this order. CRAM-MD5 works for accounts alone whose password stands in clear in "
        "accounts.dat, and clients that see it try it first. []: nobody can log in.",
    )
    clear: tuple[Any, ...] = key(
        forms.NETWORKS,
        [],
        "Whose clients may log in without TLS. Everybody on the way can read their passwords.",
        example=["192.168.0.0/24"],
    )
    failures: int = key(
        forms.count(1), 10, "Failed logins with one account from one network after which that is locked."
    )
    failures_per_address: int = key(
        forms.count(1),
        50,
        "Failed logins from one network after which it is locked for all accounts; a /48 of IPv6 after four times as "
        "many, but for accounts where they have logged in within 30 days.",
    )
    failures_per_account: int = key(
        forms.count(1),
        100,
        "Failed logins with one account from anywhere after which it is locked for networks from which it has not "
        "logged in within 30 days.",
    )
    lock_time: float = key(forms.DURATION, "15m", "How long failures are counted together, and how long a lock lasts.")
    delay: float = key(
        forms.DURATION_OR_NONE,
        "1s",
        "After how long a login is refused; each further failure doubles that, up to 16 seconds. 0: at once, and the "
        "time that it took tells who exists.",
    )
    exempt: tuple[Any, ...] = key(
        forms.NETWORKS,
        [],
        "Networks that are never locked for all accounts, such as the address of a webmail.",
        example=["192.168.0.5"],
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Patience with the other side of a connection (RFC 5321 4.5.3.2)."""

    command: float = key(forms.DURATION, "5m", "As a server, for the next command (4.5.3.2.7).")
    block: float = key(forms.DURATION, "3m", "For the next piece of content to come or to be taken (4.5.3.2.5).")
    connect: float = key(forms.DURATION, "30s", "For a connection to one address.")
    greeting: float = key(forms.DURATION, "5m", "For the greeting, and the reply to EHLO or HELO (4.5.3.2.1).")
    mail: float = key(forms.DURATION, "5m", "For the reply to MAIL (4.5.3.2.2).")
    recipient: float = key(forms.DURATION, "5m", "For the reply to RCPT (4.5.3.2.3).")
    start: float = key(forms.DURATION, "2m", "For the reply to DATA (4.5.3.2.4).")
    data: float = key(forms.DURATION, "10m", "For the reply to the end of data (4.5.3.2.6).")


@dataclass(frozen=True, slots=True)
class Queue:
    """The dispatcher."""

    concurrency: int = key(forms.count(1), 200, "Transactions at one time.")
    per_destination: int = key(forms.count(1), 20, "Transactions at one time with one destination.")


@dataclass(frozen=True, slots=True)
class Retry:
    """When an attempt that failed is made again. Waits count from when the attempt before was due."""

    refused: tuple[float, ...] = key(
        forms.DURATIONS,
        ["120s"],
        "Waits after a 5xx of a host that a table or [relay] gateway names. Empty: a 5xx is final at once.",
    )
    deferred: tuple[float, ...] = key(
        forms.WAITS,
        ["2m", "4m", "6m", "18m", "30m", "1h"],
        "Waits after a 4xx or no answer. The last one repeats until the message expires.",
    )
    expire: float = key(forms.DURATION, "5d", "How long after it was accepted a message is given up.")
    warn: float = key(forms.DURATION_OR_NONE, "4h", "After how long the sender is told of the delay. 0: never.")
    domains: tuple[tuple[str, float], ...] = key(
        forms.BY_DOMAIN, {}, "expire for single domains of recipients.", example={"example.jp": "1d"}
    )

    def expiry(self, domain: str) -> float:
        """Seconds after which mail for a domain is given up."""
        return dict(self.domains).get(domain, self.expire)


@dataclass(frozen=True, slots=True)
class Spool:
    """How what was accepted is made durable."""

    sync: str = key(
        forms.choice("auto", "fsync", "syncfs"),
        "auto",
        "fsync: each file and folder. syncfs: one call for a group of messages. auto: the latter where it is safe.",
    )
    reserve_octets: int | None = key(
        forms.count(),
        None,
        "Octets kept free where queue and mailboxes lie: with fewer new mail is refused with 452 and the queue drains. "
        "Without the key 67108864 (64 MiB), but at most a twentieth of the file system. 0: none.",
        example=1000000000,
    )
    reserve_files: int | None = key(
        forms.count(),
        None,
        "The same for the number of files that can still be made. Without the key 1000, or a twentieth of all.",
        example=10000,
    )


@dataclass(frozen=True, slots=True)
class Notice:
    """What senders are told of failed mail."""

    message_id: str = key(
        forms.choice("number", "name"),
        "number",
        "number: the first notice about a message bears its number alone, as E-Post's does. name: the whole name.",
    )
    original_octets: int = key(
        forms.count(), 1048576, "The greatest message that a notice returns whole, in octets; of another, its header."
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The whole file.

    @ivar kind: C{backend} or C{gateway}.
    @ivar file: its name as it was given.
    @ivar lines: the line of each C{section.key} and C{section} that stands in it.
    @ivar mailboxes: L{None} on a gateway.
    """

    kind: str
    file: str
    lines: MappingProxyType[str, int] = field(repr=False)
    server: Server
    domains: Domains
    mailboxes: Mailboxes | None
    relay: Relay
    forwarding: Forwarding
    tables: Tables
    tls: Tls
    submission: Submission
    limits: Limits
    login: Login
    timeouts: Timeouts
    queue: Queue
    retry: Retry
    spool: Spool
    notice: Notice

    @property
    def postmaster(self) -> Address | None:
        """Who gets mail for postmaster, from whichever section."""
        return self.domains.postmaster if self.kind == "backend" else self.server.postmaster

    @property
    def folder(self) -> Path:
        """The work folder."""
        return self.path(self.server.folder)

    @property
    def place(self) -> PurePosixPath | None:
        """The folder of a mailbox relative to the work folder, with its placeholders; L{None} on a gateway."""
        return PurePosixPath(self.mailboxes.place) if self.mailboxes else None

    @property
    def submits(self) -> bool:
        """Whether there is a place to log in."""
        return bool(self.submission.listen or self.submission.listen_tls or self.submission.receiver)

    @property
    def listening(self) -> frozenset[Hop]:
        """The addresses and ports that are surely ours: those of endpoints that name an address."""
        everywhere = (*self.server.listen, *self.submission.listen, *self.submission.listen_tls)
        return frozenset(filter(None, map(forms.listening, everywhere)))

    def path(self, name: str) -> Path:
        """A path that stands in the file, which is relative to the file."""
        return Path(self.file).parent / name

    def line(self, section: str, key: str) -> int:
        """Where a key stands, or should stand."""
        return self.lines.get(f"{section}.{key}") or self.lines.get(section) or 1


SECTIONS: dict[str, type] = {
    "server": Server,
    "domains": Domains,
    "mailboxes": Mailboxes,
    "relay": Relay,
    "forwarding": Forwarding,
    "tables": Tables,
    "tls": Tls,
    "submission": Submission,
    "limits": Limits,
    "login": Login,
    "timeouts": Timeouts,
    "queue": Queue,
    "retry": Retry,
    "spool": Spool,
    "notice": Notice,
}
