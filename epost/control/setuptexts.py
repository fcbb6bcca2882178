"""
What C{epost setup} writes and says, as pure functions of what was answered.

The files are for people who will change them: each says what it is for and where to read on. No password is in a
L{Plan}, only what proves it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from epost.control.cert import CHAIN, KEY
from epost.mail.address import Address
from epost.mail.route import Hop
from epost.tables.accounts import COLUMNS

BACKEND, GATEWAY = "backend.toml", "gateway.toml"
NAMES = (BACKEND, GATEWAY, "effect.dat", "gateway.dat", "accounts.toml", "aliases.dat", "accounts.dat", CHAIN, KEY)
FOR_GATEWAY = (GATEWAY, "effect.dat", "gateway.dat", CHAIN, KEY)
TLS = f"""\
[tls]
# Made for a first try: nobody else has signed it. For a better one see docs/tls.md.
certificates = [["{CHAIN}", "{KEY}"]]
"""
SERVICE = "/opt/epost/bin/twistd"  # as the units of etc/systemd have them
CONFIGURATION, STATE = "/etc/epost", "/var/lib/epost"


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


@dataclass(frozen=True, slots=True)
class File:
    """One file. @ivar mode: its rights."""

    octets: bytes
    mode: int = 0o644


def _text(value: str) -> str:
    """A text as TOML writes it."""
    return json.dumps(value, ensure_ascii=False)


def _listed(values: Iterable[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def backend(plan: Plan) -> str:
    """backend.toml."""
    inner = f"tcp:{plan.inner}"
    if plan.both and not plan.networks:
        inner += ":interface=127.0.0.1"  # nobody but the gateway has business there
    where = Hop(plan.gateway or "127.0.0.1", plan.port)
    return f"""\
# The back-end: it has the mailboxes of {plan.domain} and hands all other mail to the gateway.
# Every key is explained in docs/settings.md. This file is read at start; the tables that it names are read again
# whenever they change. After a change: twistd epost-backend --config THIS --check, and restart it.

[server]
name = "{plan.domain}"
folder = {_text(plan.data + "/backend")}          # queue, logs and mailboxes
# Where the gateway hands over mail, and scanners of the office that cannot log in.
listen = ["{inner}"]

[submission]
# Where people hand over mail; they log in.
listen = ["tcp:{plan.submission}"]                   # TLS by STARTTLS
listen_tls = ["tcp:{plan.submissions}"]               # TLS first

{TLS}
[domains]
local = ["{plan.domain}"]
accounts = "accounts.dat"               # who has a mailbox: epost account add, passwd, list …
details = "accounts.toml"               # what each of them may do
aliases = "aliases.dat"
# lists = "lists.toml"                  # mailing lists: docs/lists.md
# separator = "+"                       # mail for user1+shop@{plan.domain} is for user1: docs/accounts.md
postmaster = {_text(str(plan.account))}

[mailboxes]
place = 'inbox\\%USERNAME%'              # for several domains 'inbox\\%DOMAIN%\\%USERNAME%'

[relay]
gateway = "{where}"
# Whose programs may send as one of ours without login. Never "*": that is an open relay.
networks = {_listed(("127.0.0.1", "::1", *plan.networks))}
"""


def gateway(plan: Plan) -> str:
    """gateway.toml."""
    smarthost = '# Mail for outside goes where the DNS says. To hand it to a provider\'s server: gateway = "HOST:PORT"'
    if plan.smarthost is not None:
        smarthost = f'gateway = "{plan.smarthost}"   # takes all mail for outside; without the line the DNS is asked'
    return f"""\
# The gateway in front of the back-end: no mailboxes, no accounts; it decides who may write outside.
# Every key is explained in docs/settings.md. This file is read at start; the tables that it names are read again
# whenever they change. After a change: twistd epost-gateway --config THIS --check, and restart it.

[server]
name = "{plan.name}"
folder = {_text(plan.data + "/gateway")}          # queue and logs
listen = ["tcp:{plan.port}"]                     # "tcp6:{plan.port}" takes IPv6 and IPv4
postmaster = "postmaster@{plan.domain}"

{TLS}
[relay]
verify = true                           # ask the back-end who is there, and refuse the others at the door
{smarthost}

[tables]
effect = "effect.dat"                   # who may write outside
gateway = "gateway.dat"                 # where mail for {plan.domain} goes
"""


def effect(plan: Plan) -> str:
    """effect.dat."""
    return f"""\
' Who may send mail through the gateway. One rule a line; the first line that matches decides (docs/rules.md).
' An account that may write inside only, a line like this, above the last one:
' baito@{plan.domain} false
#<> default
#blank false
' The back-end's machine, last: what it sends was stopped above or may go anywhere.
{plan.backend or "127.0.0.1"} true
"""


def hops(plan: Plan) -> str:
    """gateway.dat."""
    return f"""\
' Which host takes the mail for a domain: domain, host, port. The domains of this table are taken from everybody.
{plan.domain}, {plan.backend or "127.0.0.1"}, {plan.inner}
"""


def accounts(plan: Plan) -> str:
    """accounts.dat."""
    row = dict.fromkeys(COLUMNS, "") | {"Account": plan.account.local, "Pass": plan.secret, "Domain": plan.domain}
    line = "\t".join(row[column] for column in COLUMNS).rstrip("\t")
    return f"""\
' Accounts, in columns separated by TAB: {", ".join(COLUMNS)}
' Better than by hand: epost account add, passwd, set, remove (epost account --help).
{line}
"""


def details(plan: Plan) -> str:
    """accounts.toml."""
    return f"""\
# What an account may do and what becomes of its mail, a table for each; an account without one may do what is usual.
# epost account set writes it. All keys are in docs/accounts.md. An account that may write inside only:
#
# ["baito@{plan.domain}"]
# outside = false
"""


def aliases(plan: Plan) -> str:
    """aliases.dat."""
    return f"""\
' alias TAB address, both with a domain. Several lines of one alias make a group.
' Whoever finds something wrong with this domain's mail writes to one of these (RFC 2142):
abuse@{plan.domain}\t{plan.account}
"""


def files(plan: Plan, chain: bytes, key: bytes) -> dict[str, File]:
    """
    All files, by name in the folder for the configuration.

    @param chain: the certificate, in PEM.
    @param key: its key.
    """
    texts = {
        BACKEND: backend(plan),
        GATEWAY: gateway(plan),
        "effect.dat": effect(plan),
        "gateway.dat": hops(plan),
        "accounts.toml": details(plan),
        "aliases.dat": aliases(plan),
    }
    made = {name: File(text.encode()) for name, text in texts.items()}
    return made | {
        "accounts.dat": File(accounts(plan).encode(), 0o600),
        CHAIN: File(chain),
        KEY: File(key, 0o600),
    }


def hosts(plan: Plan) -> list[str]:
    """By which names and addresses programs come to us."""
    return [plan.name, plan.domain, *([plan.backend] if plan.backend else [])]


def unit(plan: Plan, half: str, user: str) -> str:
    """A systemd unit: the one of etc/systemd, with the paths and the user of this machine."""
    what = {
        "backend": "back-end, the mail server with mailboxes",
        "gateway": "gateway, the mail server in front of a back-end",
    }
    text = UNIT.replace("WHAT", what[half]).replace("HALF", half)
    text = text.replace(SERVICE, plan.twistd).replace(CONFIGURATION, plan.folder).replace("User=epost", f"User={user}")
    if plan.data != STATE:
        text = text.replace("StateDirectory=epost", f"ReadWritePaths={plan.data}")
    return text


UNIT = """\
[Unit]
Description=epost WHAT
After=network-online.target nss-lookup.target
Wants=network-online.target

[Service]
User=epost
StateDirectory=epost
ExecStartPre=/opt/epost/bin/twistd epost-HALF --config /etc/epost/HALF.toml --check
ExecStart=/opt/epost/bin/twistd --nodaemon --pidfile= epost-HALF --config /etc/epost/HALF.toml
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5s
TimeoutStopSec=60s
LimitNOFILE=65536

# Port 25 without root, and nothing else.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0027

[Install]
WantedBy=multi-user.target
"""


def records(plan: Plan) -> list[str]:
    """The DNS records to publish."""
    spf = "v=spf1 mx -all" if plan.smarthost is None else "v=spf1 mx include:NAME-THAT-YOUR-PROVIDER-TELLS -all"
    domain, name = f"{plan.domain}.", f"{plan.name}."
    width = max(len(domain), len(name), len("_dmarc.") + len(domain))
    return [
        f"{domain:{width}} MX    10 {name}",
        f"{name:{width}} A     OUTER-IPv4-ADDRESS-OF-THE-GATEWAY",
        f"{name:{width}} AAAA  OUTER-IPv6-ADDRESS, where gateway.toml listens on tcp6:{plan.port}",
        f'{domain:{width}} TXT   "{spf}"',
        f'{"_dmarc." + domain:{width}} TXT   "v=DMARC1; p=none; rua=mailto:{plan.account}"',
        f"and the PTR of each address is {name} (its owner, your provider, sets it)",
    ]


def commands(plan: Plan, units: bool) -> list[str]:
    """What to do next."""
    start = [
        f"{plan.twistd} --pidfile={plan.data}/{half}.pid --logfile={plan.data}/{half}.log"
        f" epost-{half} --config {plan.folder}/{half}.toml"
        for half in ("backend", "gateway")
    ]
    if units:
        start = ["systemctl daemon-reload", "systemctl enable --now epost-backend epost-gateway"]
    epost = plan.twistd.removesuffix("twistd") + "epost"
    return [*start, f"{epost} doctor --config {plan.folder}/{BACKEND}"]


def clients(plan: Plan) -> list[str]:
    """What goes into a mail program."""
    host = plan.backend or plan.name
    lines = [
        f"outgoing server {host}, port {plan.submissions}, SSL/TLS, normal password, user name {plan.account}",
        f"or port {plan.submission}, STARTTLS; it asks once whether to trust the certificate, which nobody has signed",
        f"no POP3 and no IMAP yet: what comes for {plan.account} stands in a Maildir below {plan.data}/backend/inbox",
    ]
    if plan.networks:
        lines.append(f"scanners in {', '.join(plan.networks)}: {host}, port {plan.inner}, no login")
    return lines
