"""
What Postfix is tried with, in front of the gateway and behind it; and how a crowd fares, made and counted by its tools.
"""

import os
import re
from collections.abc import Callable
from functools import partial

from tests.interop.clients import SMTPLIB
from tests.interop.letters import LETTERS, large, letter
from tests.interop.places import SINK, Places, Send
from tests.interop.report import Report
from tests.interop.sending import ALL, BUCHO, KACHO, LIMIT, NOBODY, SATO, USER2
from tests.interop.servers import ADVICE, Postfix, SmtpSink, pour, program
from tests.system.pair import waitUntil

BAITO, STRANGER = "baito@test.jp", "someone@test-sample00.jp"
TANAKA, SUZUKI = "tanaka@post.example", "鈴木@post.example"
USERS = {TANAKA: "tanaka", SUZUKI: "suzuki"}
SMALLER = LIMIT - 50_000  # octets of a message: less than the gateway takes
KNOWN = LIMIT + 65_536  # what it takes of a machine of its tables, as Postfix is one
CROWD = 5000

_MESSAGE_ID = re.compile(rb"^Message-Id: (\S+)", re.MULTILINE | re.IGNORECASE)


class Relaying:
    """Postfix on both sides of the gateway."""

    def __init__(self, places: Places, postfix: Postfix) -> None:
        self.places = places
        self.postfix = postfix

    @staticmethod
    def possible(report: Report) -> bool:
        """Whether Postfix can be started here; tells why not."""
        if program("postfix") is None:
            report.missing("Postfix", ADVICE)
        elif os.geteuid() != 0:
            report.skip("Postfix", "it can be started by root alone")
        else:
            return True
        return False

    def run(self, report: Report) -> None:
        """All checks."""
        before = partial(report.check, "Postfix →")
        for kind in LETTERS:
            before(f"{kind}: octet for octet in two mailboxes and outside", partial(self.inwards, kind))
        before("a recipient beyond ASCII: SMTPUTF8 up to the outside", self.international)
        before("whom effect.dat refuses gets Postfix's notice, with why", self.sender)
        before("an unknown recipient comes back with Postfix's notice", self.recipient)
        before("a message over the limit that we announce comes back", self.size)
        behind = partial(report.check, "→ Postfix")
        for kind in LETTERS:
            behind(f"{kind}: octet for octet in Postfix's mailbox", partial(self.outwards, kind))
        behind("a mailbox beyond ASCII: SMTPUTF8 up to it", self.beyond)
        behind("a recipient whom Postfix does not know is refused at our door", self.unknown)
        behind("a sender whom Postfix refuses gets our notice, with its words", self.refused)
        behind("a message over the limit that Postfix announces comes back", self.tooLarge)
        behind("a recipient whom Postfix takes later gets the message then, once", self.later)

    def _send(self, port: int, sender: str, *recipients: str) -> Send:
        return partial(SMTPLIB.send, port, sender, recipients)

    def inwards(self, kind: str) -> None:
        """Postfix, gateway, back-end or sink."""
        mark = f"Postfix inwards {kind}"
        send = self._send(self.postfix.port, BUCHO, KACHO, BUCHO, USER2)
        self.places.delivers(send, mark, letter(mark, kind), ALL)

    def international(self) -> None:
        """Postfix, gateway, sink."""
        mark = "Postfix SMTPUTF8"
        self.places.delivers(self._send(self.postfix.port, BUCHO, SATO), mark, letter(mark, "8-bit"), [SINK])

    def sender(self) -> None:
        """The notice comes in by the gateway too."""
        mark, why = "Postfix sender", "Please, mail from a valid IP or Domain address."
        send = self._send(self.postfix.port, BAITO, USER2)
        self.places.returns(send, mark, letter(mark, "dots"), why, BAITO, ALL)

    def recipient(self) -> None:
        """The back-end knows, the gateway says it, Postfix quotes it."""
        mark, why = "Postfix recipient", "<nobody@test.jp> ... User unknown."
        send = self._send(self.postfix.port, KACHO, NOBODY)
        self.places.returns(send, mark, letter(mark, "dots"), why, KACHO, [BUCHO, SINK])

    def size(self) -> None:
        """Postfix reads SIZE in our reply to EHLO and does not even try."""
        mark, why = "Postfix size", f"exceeds size limit {KNOWN} of server"
        send = self._send(self.postfix.port, KACHO, USER2)
        self.places.returns(send, mark, large(mark, KNOWN + 1000), why, KACHO, [BUCHO, SINK])

    def outwards(self, kind: str) -> None:
        """Back-end, gateway, Postfix."""
        mark = f"Postfix outwards {kind}"
        send = self._send(self.places.pair.backend.port, BUCHO, TANAKA)
        self.places.delivers(send, mark, letter(mark, kind), [TANAKA])

    def beyond(self) -> None:
        """A client that speaks SMTPUTF8, back-end, gateway, Postfix."""
        mark = "Postfix mailbox SMTPUTF8"
        send = self._send(self.places.pair.backend.port, BUCHO, SUZUKI)
        self.places.delivers(send, mark, letter(mark, "8-bit"), [SUZUKI])

    def unknown(self) -> None:
        """The gateway asks Postfix while the client waits."""
        mark, why = "Postfix unknown", "<nobody@post.example> ... User unknown."
        send = self._send(self.places.pair.gateway.port, STRANGER, "nobody@post.example")
        self.places.refuses(send, mark, letter(mark, "dots"), why, [TANAKA])

    def refused(self) -> None:
        """Postfix says 550 to MAIL, twice, as it is our own next hop."""
        self.postfix.refuse("senders", {KACHO: "550 5.7.1 not from you"})
        mark = "Postfix refuses"
        send = self._send(self.places.pair.backend.port, KACHO, TANAKA)
        self.places.returns(send, mark, letter(mark, "dots"), "not from you", KACHO, [TANAKA])

    def tooLarge(self) -> None:
        """The gateway reads SIZE in Postfix's reply to EHLO and does not even try."""
        self.postfix.limit(SMALLER)
        mark, why = "Postfix too large", f"552 5.3.4 The next host takes {SMALLER} octets"
        send = self._send(self.places.pair.backend.port, BUCHO, TANAKA)
        self.places.returns(send, mark, large(mark, SMALLER + 1000), why, BUCHO, [TANAKA])

    def later(self) -> None:
        """As greylisting does it: Postfix knows the recipient, and wants us to come again."""
        self.postfix.refuse("recipients", {TANAKA: "450 4.2.0 come again"})
        mark, gateway = "Postfix later", self.places.pair.gateway
        taken, said = self._send(gateway.port, BUCHO, TANAKA)(letter(mark, "dots"))
        assert taken, said
        waitUntil("a 450 in the senderlog", lambda: "450 4.2.0" in "\n".join(gateway.senderlog()))
        assert not self.places.found(mark, TANAKA)
        self.postfix.refuse("recipients", {})
        self.places.delivers(lambda content: (True, said), mark, letter(mark, "dots"), [TANAKA])


class Crowd:
    """Thousands of messages in fifty sessions at a time: how many come, and how often?"""

    def __init__(self, places: Places, sink: SmtpSink) -> None:
        self.places = places
        self.sink = sink

    def run(self, report: Report) -> None:
        """Both checks."""
        check = partial(report.check, "smtp-source")
        check(f"{CROWD} messages into the back-end: {CROWD} in the mailbox, none twice", self.inside)
        check(f"{CROWD} messages into the gateway: {CROWD} at smtp-sink, none twice", self.through)

    def inside(self) -> None:
        """Into the mailbox of an account that got nothing else."""
        pour(self.places.pair.backend.port, CROWD, "user1@test.jp")
        self._count(lambda: self.places.at("user1@test.jp"))

    def through(self) -> None:
        """By the queue, to a domain whose host is smtp-sink."""
        pour(self.places.pair.gateway.port, CROWD, "user@crowd.example")
        self._count(self.sink.messages)

    def _count(self, come: Callable[[], list[bytes]]) -> None:
        """@raise AssertionError: other than each once."""
        self.places.pair.idle(120)
        messages = come()
        marks = {found[1] for content in messages if (found := _MESSAGE_ID.search(content))}
        assert (len(messages), len(marks)) == (CROWD, CROWD), f"{len(messages)} came, {len(marks)} of them different"
