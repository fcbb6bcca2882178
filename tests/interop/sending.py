"""What each client is tried with."""

from functools import partial

from tests.interop.clients import Client
from tests.interop.letters import LETTERS, large, letter
from tests.interop.places import SINK, Places
from tests.interop.report import Report, Unable

LIMIT = 200_000  # octets of a message, set on both daemons

BUCHO, KACHO, NOBODY = "bucho@test.jp", "kacho@test.jp", "nobody@test.jp"
USER2, SATO = "user2@test-sample00.jp", "佐藤@test-sample00.jp"
ALL = [KACHO, BUCHO, SINK]


class Sending:
    """One client and its checks."""

    def __init__(self, places: Places, client: Client) -> None:
        self.places = places
        self.client = client
        self._backend = places.pair.backend.port
        self._gateway = places.pair.gateway.port

    def run(self, report: Report) -> None:
        """All of them."""
        if not self.client.installed:
            report.missing(self.client.name, self.client.advice)
            return
        check = partial(report.check, self.client.name)
        for kind in LETTERS:
            same = "the same to a reader" if self.client.rewrites else "octet for octet"
            check(f"{kind}: {same} in two mailboxes and outside", partial(self.deliver, kind))
        check("a sender whom effect.dat refuses hears why", self.sender)
        check("an unknown recipient is refused by name", self.recipient)
        check("the gateway refuses whom the back-end does not know", self.unknown)
        check("one recipient of two is unknown: the other is not cheated", self.oneOfTwo)
        check("a message over the limit is refused", self.size)
        check("a recipient beyond ASCII: SMTPUTF8 up to the outside", self.international)

    def mark(self, what: str) -> str:
        """A subject of its own for each check."""
        return f"{self.client.name} {what}"

    def deliver(self, kind: str) -> None:
        """Two recipients inside, one outside, through both daemons."""
        mark = self.mark(kind)
        send = partial(self.client.send, self._backend, BUCHO, [KACHO, BUCHO, USER2])
        self.places.delivers(send, mark, letter(mark, kind), ALL, self.client.rewrites)

    def sender(self) -> None:
        """The gateway's rule."""
        mark = self.mark("sender")
        send = partial(self.client.send, self._gateway, "baito@test.jp", [USER2])
        reply = "Please, mail from a valid IP or Domain address."
        self.places.refuses(send, mark, letter(mark, "dots"), reply, ALL)

    def recipient(self) -> None:
        """The back-end's accounts."""
        mark = self.mark("recipient")
        send = partial(self.client.send, self._backend, BUCHO, [NOBODY])
        self.places.refuses(send, mark, letter(mark, "dots"), "<nobody@test.jp> ... User unknown.", ALL)

    def unknown(self) -> None:
        """Asked while the client waits."""
        mark = self.mark("unknown")
        send = partial(self.client.send, self._gateway, "someone@test-sample00.jp", [NOBODY])
        self.places.refuses(send, mark, letter(mark, "dots"), "<nobody@test.jp> ... User unknown.", ALL)

    def oneOfTwo(self) -> None:
        """Some clients give up, some go on; what they say then has to be true."""
        mark = self.mark("one of two")
        taken, said = self.client.send(self._backend, BUCHO, [KACHO, NOBODY], letter(mark, "dots"))
        assert "User unknown." in said or self.client.rewrites, said
        self.places.pair.idle()
        copies = len(self.places.found(mark, KACHO))
        assert copies == 1 if taken else copies <= 1, f"taken: {taken}, and {copies} copies"

    def size(self) -> None:
        """By SIZE where the client announces it, else at the end of data."""
        mark = self.mark("size")
        send = partial(self.client.send, self._backend, BUCHO, [KACHO, USER2])
        self.places.refuses(send, mark, large(mark, LIMIT + 1000), "exceeded storage allocation", ALL)

    def international(self) -> None:
        """To the sink, which offers it."""
        if not self.client.utf8:
            raise Unable("the client does not speak it")
        mark = self.mark("SMTPUTF8")
        send = partial(self.client.send, self._backend, BUCHO, [SATO])
        self.places.delivers(send, mark, letter(mark, "8-bit"), [SINK], self.client.rewrites)
        last = self.places.pair.sink.messages[-1]
        assert last.recipients == (SATO,) and "SMTPUTF8" in last.parameters, last
