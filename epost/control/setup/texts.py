"""
The files of a new configuration, as pure functions of what was answered.

They are for people who will change them: each says what it is for and where to read on.
"""

import json
from collections.abc import Iterable

from epost.control.cert import CHAIN, KEY
from epost.control.setup.plan import File, Plan
from epost.mail.route import Hop
from epost.tables.accounts import COLUMNS

BACKEND, GATEWAY = "backend.toml", "gateway.toml"
NAMES = (BACKEND, GATEWAY, "effect.dat", "gateway.dat", "accounts.toml", "aliases.dat", "accounts.dat", CHAIN, KEY)
TLS = f"""\
[tls]
# Made for a first try: nobody else has signed it. For a better one see docs/tls.md.
certificates = [["{CHAIN}", "{KEY}"]]
"""


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
# separator = "+"                       # user1+shop@{plan.domain} is user1; the same in gateway.toml: docs/accounts.md
postmaster = {_text(str(plan.account))}

[mailboxes]
place = 'inbox\\%USERNAME%'              # for several domains 'inbox\\%DOMAIN%\\%USERNAME%'

[relay]
gateway = "{where}"
# Whose programs may send as one of ours without login. Never "*": that is an open relay.
networks = {_listed(("127.0.0.1", "::1", *plan.networks))}
# From where the gateway comes. What it hands over strangers wrote: no sender of ours is believed without login, even if
# the address stands in networks. Programs of such a machine send through the gateway, or log in.
gateways = {_listed((plan.gateway,) if plan.gateway else ("127.0.0.1", "::1"))}
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
# [domains]
# separator = "+"                       # as in backend.toml, so that effect.dat holds for tags: docs/accounts.md

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
