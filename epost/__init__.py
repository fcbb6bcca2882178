"""
epost: a mail server pair. The back-end has the mailboxes; the gateway in front of it decides who may write outside.

    socket ─▶ Receiver ─▶ ServerSession ─▶ (event) ─▶ Transaction ─▶ IAdmission ──▶ Reply
                                                          │           rules, accounts, relay domains, verification
                 ┌────────────────── content ─────────────┘
                 ▼
              IIntake ─▶ IDraft ──commit──▶ ISpool ─▶ Dispatcher ─▶ IRouter ─▶ Local    ─▶ IInbox
                              one mailbox     ▲           │            ├─────▶ Onward   ─▶ ICarrier ─▶ socket
                              and no other:   │           │            ├─────▶ Held         (stays in holding)
                              straight into   │           │            └─────▶ Nowhere      (returned)
                              its Maildir     │           ├─ patience left ─▶ …-R000n, due later
                                              └── notice ◀┴─ none left ─────▶ …-E001 to the sender

A core of values, grammar and tables (octets and text in, values out) stands inside a shell of sockets, files and a
clock. The core never waits; the shell never decides.

    mail/       the values: address reply envelope name entry route decision fault; what is written into messages (trace
                heading notice autoreply) and into logs (safe), and when to try again (retry)
    smtp/       the protocol without I/O: server session and client transaction, and all that we say (wording)
    tables/     text to immutable tables: effect (who may), hops (gateway.dat), accounts and their details, aliases,
                lists, restriction (sender.dat); all of them in one directory; ways: where an address leads;
                building: all tables read into one; memo: what was found by those in force
    settings    every key, documented once; config reads them; forms: how values are written; toml: where each stands
    interfaces  the roles, as zope interfaces: the table of contents
    storage/    the spool and its crash table, mailboxes, serial, group commit and its thread, senderlog and receivelog;
                meter: how full is a mailbox; room: is there space; trouble: faults of the disk, told once; hints: small
                facts that survive a restart
    net/        Twisted transports: receiver transaction crowd refusals (in), carrier places caller exchanges (out),
                reading writing; tls: certificates; security: TLS towards other hosts
    login/      passwords (schemes), mechanisms (sasl, without I/O), whether they hold (checker), who guesses (lockout)
    matrix      who may write to whom; routes: where mail goes; both pure functions of the tables
    admission   the matrix, and what needs more than tables: full mailboxes, verification
    allowance   what an account has used: sent, stored, replied
    expansion   whom a message goes to over aliases, forwarding and lists, in how many copies
    letters     what we write ourselves beside notices: automatic replies, warnings
    intake      what becomes of a message between 354 and 250; drafts: what streams in
    verify      asks the next hop whether a recipient exists
    dispatch    the queue; agenda: when; lanes: to whom; errand: one attempt; returns: notices and warnings
    loading     reads the configuration and all tables; reload: the tables again when they change
    control/    the command epost: main, and a package or module for each group (account/, doctor/, setup/); files: lock
                and atomic change of tables
    daemon/     what both daemons are made of: service starts and stops it; store: the work folder; ports and receiving:
                how mail comes in; sending: how it goes out; tls: whose certificates
    commandline what both commands take; backend and gateway: the two

Arrows point down; a test reads every import:

    backend, gateway → commandline → daemon → everything below        control → everything below daemon
    allowance, dispatch, returns → interfaces, mail        drafts, intake, verify → interfaces, smtp.wording, mail
    intake → drafts    expansion → routes    letters → allowance, tables
    admission → matrix    matrix, routes → interfaces, smtp.wording, tables, mail
    reload → loading → config, tables
    net → interfaces, smtp, mail        storage → interfaces, mail        interfaces → mail
    config → toml, forms, settings        tables → toml
    tables, smtp, config, settings, toml → mail        mail → standard library        (Twisted in none of these)

Where to start reading: mail/entry.py, smtp/session.py and server.py, matrix.py, storage/spool.py, daemon/service.py.
"""

__version__ = "0.1.0"
