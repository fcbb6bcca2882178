"""
Small stories over the whole town, and the ledger that says whether the durability contract was kept in one.

A L{Letter} tells whose it is on every line, so that what is cut or mixed with another is seen by comparing octets. Its
L{Teller} plays a client that notes what it was told. The L{Ledger} looks, when all has come to rest, at mailboxes, at
the outside and in the queues, and compares what is there with what was acknowledged. House 5; docs/durability.md.
"""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from twisted.internet.protocol import ClientFactory, Protocol

from tests.world.town import FILES, Outside, Talk, Town
from tests.world.wire import CHUNK

BACKEND, GATEWAY = "192.168.0.102", "192.168.0.103"
PC = "192.168.0.7"  # a client inside
KINDS = ("backend", "gateway")
QUEUES = ("incoming", "holding", "dead")
OURS = re.compile(rb"this is all of it\.\r\n\Z|do\s+not\s+need\s+any\s+more\.\r\n\Z")
TOKEN = re.compile(rb"token-([a-z0-9]+)-")

BOX, OUTSIDE, RETURNED = "box", "outside", "returned"  # where a recipient's copy is to be at last
NOWHERE = ""  # for others in his place

# A retry does not let anybody wait, and whoever hears nothing more gives up soon.
_SOON = """\
[retry]
refused = ["5s"]
deferred = ["5s"]
[timeouts]
connect = "3s"
greeting = "4s"
mail = "4s"
recipient = "4s"
start = "4s"
block = "4s"
data = "4s"
"""
SHORTENED = FILES | {name: FILES[name] + _SOON for name in ("backend.toml", "gateway.toml")}


@dataclass(frozen=True, slots=True)
class Letter:
    """
    A message that somebody hands over.

    @ivar token: a-z and 0-9, its own.
    @ivar at: when, seconds after the story's begin.
    @ivar fates: by recipient where it is to be at last: L{BOX}, L{OUTSIDE}, L{RETURNED} or L{NOWHERE}.
    @ivar lines: of its text.
    @ivar front: the address of the server that it is handed to.
    @ivar others: who gets it by lists and forwarding: by whom it gets where, and because of which recipient.
    @ivar marks: what stands in front of it for such a one.
    @ivar senders: the reverse path with which such a one gets it, as an expression.
    @ivar answers: how many letters of our own it causes: automatic replies, warnings.
    @ivar refused: whether nothing has failed where it is not taken.
    """

    token: str
    sender: str
    fates: dict[str, str]
    at: float = 0.0
    lines: int = 3
    front: str = BACKEND
    others: dict[str, tuple[str, str]] = field(default_factory=dict)
    marks: dict[str, bytes] = field(default_factory=dict)
    senders: dict[str, str] = field(default_factory=dict)
    answers: int = 0
    refused: bool = False

    def ends(self) -> list[tuple[str, str, str]]:
        """Everybody who is to have it, where, and which recipient stands for him."""
        named = [(recipient, fate, recipient) for recipient, fate in self.fates.items() if fate]
        return named + [(end, *told) for end, told in self.others.items()]

    def payload(self) -> bytes:
        """All that its sender wrote, with CRLF. One line begins with a dot."""
        head = f"Subject: {self.token}\nFrom: {self.sender}\nTo: {', '.join(self.fates)}\n"
        head += "Date: Mon, 06 Jul 2009 16:20:00 +0900\n"
        head += f"Message-Id: <token-{self.token}-0@pc>\n\n"
        body = "".join(f"token-{self.token}-{number}-{'.' * 40}\n" for number in range(self.lines))
        return f"{head}{body}.token-{self.token}-dot\n".replace("\n", "\r\n").encode()


class Teller(Protocol):
    """
    The client of one letter: each command when the one before has its reply, the content in pieces.

    @ivar accepted: recipients that were taken.
    @ivar finished: whether the end of data was written.
    @ivar acknowledged: whether it heard 250 to that.
    """

    def __init__(self, letter: Letter) -> None:
        self.letter = letter
        self.accepted: list[str] = []
        self.finished = False
        self.acknowledged = False
        self._heard = b""
        self._commands = [
            "EHLO pc",
            f"MAIL FROM:<{letter.sender}>",
            *(f"RCPT TO:<{to}>" for to in letter.fates),
            "DATA",
        ]
        self._said = ""

    def dataReceived(self, data: bytes) -> None:
        """Go on when a reply is whole."""
        self._heard += data
        while (line := self._heard.partition(b"\r\n"))[1]:
            self._heard = line[2]
            if line[0][3:4] != b"-":
                self._reply(int(line[0][:3]))

    def _reply(self, code: int) -> None:
        if self.finished:
            self.acknowledged = self.acknowledged or code == 250
            self._say("QUIT")
        elif self._said == "DATA" and code == 354:
            self._tell()
        elif self._said in ("DATA", "QUIT"):
            self.transport.loseConnection()
        else:
            if self._said.startswith("RCPT") and code == 250:
                self.accepted.append(self._said[9:-1])
            self._say(self._commands.pop(0) if self._commands[:-1] or self.accepted else "QUIT")

    def _say(self, line: str) -> None:
        self._said = line
        self.transport.write(f"{line}\r\n".encode())

    def _tell(self) -> None:
        """The content. Each piece is under way on its own, so that power can go between any two."""
        octets = self.letter.payload().replace(b"\r\n.", b"\r\n..")
        middle = len(octets) // 2
        pieces = [octets[:middle], octets[middle:-1], octets[-1:] + b".", b"\r\n"]
        host = self.transport.host
        for number, piece in enumerate(pieces):
            host.callLater(number / 1000, self._piece, piece, number == len(pieces) - 1)

    def _piece(self, piece: bytes, last: bool) -> None:
        self.transport.write(piece)
        self.finished = self.finished or (last and self.transport.connected)


class Picky(Talk):
    """The outside, which does not know everybody."""

    def lineReceived(self, line: bytes) -> None:
        """As always, but nobody is nobody."""
        if line.startswith(b"RCPT TO:<nobody@"):
            self.sendLine(b"550 5.1.1 no such user")
        else:
            super().lineReceived(line)


@dataclass(frozen=True, slots=True)
class Story:
    """
    What happens in the town.

    @ivar letters: what is handed over.
    @ivar events: what happens besides, and when, seconds after the begin.
    @ivar files: configurations and tables that differ.
    @ivar down: seconds that a machine without power stays off.
    @ivar look: seconds between two looks at the tables.
    @ivar segment: octets that a host is given at a time, at most.
    """

    letters: tuple[Letter, ...]
    events: tuple[tuple[float, Callable[[Town], object]], ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    down: float = 0.0
    look: float = 60.0
    segment: int = CHUNK

    @property
    def busy(self) -> float:
        """Seconds after which nothing new begins."""
        return max([letter.at for letter in self.letters] + [when for when, _ in self.events]) + 0.1


def begin(town: Town, story: Story) -> "list[Teller]":
    """Arrange for all of it. @return: the clients; they go on when the net does."""
    tellers = [hand(town, letter) for letter in story.letters]
    for when, event in story.events:
        town.stranger.callLater(when, event, town)
    return tellers


def hand(town: Town, letter: Letter) -> Teller:
    """Somebody hands a letter over when it is time."""
    teller = Teller(letter)
    factory = ClientFactory()
    factory.noisy = False
    factory.buildProtocol = lambda goal: teller
    hosts = town.net.hosts
    host = town.stranger if letter.front != BACKEND else hosts.get(PC) or town.net.host(PC)
    host.callLater(letter.at, host.connectTCP, letter.front, 25, factory)
    return teller


def doOpen(town: Town) -> None:
    """The outside takes mail."""
    town.stranger.ports[25] = town.outside


def doClose(town: Town) -> None:
    """The outside does not answer."""
    town.stranger.ports.clear()


def doDeafen(town: Town) -> None:
    """The gateway does not answer."""
    town.gate.ports.clear()


def doHear(town: Town) -> None:
    """It does again."""
    town.gate.ports[25] = town.services["gateway"].ports.receiver


def doFree(town: Town) -> None:
    """Whoever keeps gateway.dat takes the hold line away."""
    Path(town.path("gateway.dat")).write_text(FILES["gateway.dat"])


def doRead(town: Town) -> None:
    """Somebody reads his mail, as programs do that know a Maildir."""
    disk, box = town.disks["backend"], town.path("backend/inbox/kacho")
    with suppress(OSError):  # his program's, if the disk fails here
        for name in disk.names(f"{box}/new"):
            disk.rename(f"{box}/new/{name}", f"{box}/cur/{name}:2,S")


# What is handed over when all is over: the pair takes mail still, under numbers that it has not used.
EPILOGUE = Letter("epilogue", "user2@test-sample00.jp", {"bucho@test.jp": BOX}, front=GATEWAY)

_HELD = {"gateway.dat": FILES["gateway.dat"] + "test-sample00.jp, hold\n"}
_OUT = "user2@test-sample00.jp"

_FSYNC = {"backend.toml": SHORTENED["backend.toml"] + '[spool]\nsync = "fsync"\n'}
_CROWD = (
    Letter("in0", "bucho@test.jp", {"kacho@test.jp": BOX}),
    Letter("in1", "bucho@test.jp", {"kacho@test.jp": BOX, "user1@test.jp": BOX}),
    Letter("out", "bucho@test.jp", {_OUT: OUTSIDE}, 0.01),
    Letter("no", "user1@test.jp", {_OUT: RETURNED}, 0.02),
)

_DOMAINS = 'accounts = "accounts.dat"\n'
_PEOPLE = {
    "backend.toml": SHORTENED["backend.toml"].replace(
        _DOMAINS, f'{_DOMAINS}details = "accounts.toml"\nlists = "lists.toml"\n'
    )
    + "[forwarding]\nsrs = true\n",
    "accounts.toml": '["baito@test.jp"]\nforward = ["user3@test-sample00.jp"]\n',
    "lists.toml": '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "bucho@test.jp"\n',
    "staff.txt": "kacho@test.jp\nuser3@test-sample00.jp\nnobody@test-sample00.jp\n",
}
_AWAY = '["user1@test.jp"]\nreply = { text = "I am away, and this is all of it." }\n'
_KACHO = "kacho\tpass1234\t\ttest.jp"
_USER3 = "user3@test-sample00.jp"
_STAFF = (
    b'List-Id: "staff"\r\n <staff.test.jp>\r\nList-Post: <mailto:staff@test.jp>\r\n'
    b"List-Unsubscribe: <mailto:staff-owner@test.jp?subject=unsubscribe>\r\n"
    b"List-Owner: <mailto:staff-owner@test.jp>\r\nPrecedence: list\r\n"
)
_MEMBERS = {"kacho@test.jp": BOX, _USER3: OUTSIDE, "nobody@test-sample00.jp": RETURNED}
_BY_LIST = {
    "others": {member: (fate, "staff@test.jp") for member, fate in _MEMBERS.items()},
    "marks": dict.fromkeys(_MEMBERS, _STAFF),
    "senders": dict.fromkeys(_MEMBERS, r"staff-bounces@test\.jp"),
}
_BY_BAITO = {
    "others": {_USER3: (OUTSIDE, "baito@test.jp")},
    "marks": {_USER3: b"Delivered-To: baito@test.jp\r\n"},
    "senders": {_USER3: r"SRS0=[A-Z2-7]{6}=[A-Z2-7]{2}=test-sample00\.jp=user2@test\.jp"},
}

STORIES = {
    "local": Story((Letter("loc", "kacho@test.jp", {"bucho@test.jp": BOX}),)),
    "relay": Story((Letter("rel", "bucho@test.jp", {_OUT: OUTSIDE}),)),
    "queue": Story(
        (Letter("que", "bucho@test.jp", {_OUT: OUTSIDE}),),
        # The gateway listens to nobody at first, so the message stands in the back-end's queue.
        ((0.0, doDeafen), (7.0, doHear)),
    ),
    "refused": Story((Letter("ref", "baito@test.jp", {_OUT: RETURNED}),)),
    "split": Story((Letter("spl", "baito@test.jp", {"kacho@test.jp": BOX, _OUT: RETURNED}),), ((3.0, doRead),)),
    "bounce": Story((Letter("bou", "bucho@test.jp", {_OUT: OUTSIDE, "nobody@test-sample00.jp": RETURNED}),)),
    "due": Story((Letter("due", "kacho@test.jp", {_OUT: OUTSIDE}),), ((0.0, doClose), (8.0, doOpen)), down=6.0),
    "held": Story((Letter("hel", "bucho@test.jp", {_OUT: OUTSIDE}),), ((6.0, doFree),), _HELD, look=1.0),
    "twins": Story((Letter("twi", "bucho@test.jp", {"kacho@test.jp": BOX, "user1@test.jp": BOX}),)),
    "inward": Story((Letter("inw", _OUT, {"kacho@test.jp": BOX}, front=GATEWAY),)),
    "octets": Story((Letter("oct", "kacho@test.jp", {_OUT: OUTSIDE}, lines=1),), segment=5),
    "long": Story((Letter("lon", "kacho@test.jp", {"bucho@test.jp": BOX}, lines=1300),), files=_FSYNC),
    "longer": Story((Letter("lor", "bucho@test.jp", {_OUT: OUTSIDE, "kacho@test.jp": BOX}, lines=1300),)),
    "crowd": Story(_CROWD),
    "group": Story(_CROWD, files=_FSYNC),
    "forward": Story((Letter("for", _OUT, {"baito@test.jp": BOX}, **_BY_BAITO),), files=_PEOPLE),  # type: ignore[arg-type]
    "list": Story(
        (Letter("lis", "bucho@test.jp", {"baito@test.jp": BOX, "staff@test.jp": NOWHERE}, **_BY_LIST),),  # type: ignore[arg-type]
        files=_PEOPLE | {"accounts.toml": ""},
    ),
    "reply": Story(
        (
            Letter("re0", "bucho@test.jp", {"user1@test.jp": BOX}, answers=1),
            Letter("re1", "bucho@test.jp", {"user1@test.jp": BOX, "baito@test.jp": BOX}, 4.0),
            Letter("re2", "bucho@test.jp", {"user1@test.jp": BOX}, 8.0),
        ),
        files=_PEOPLE | {"accounts.toml": _AWAY},
    ),
    "quota": Story(
        (
            Letter("qu0", "bucho@test.jp", {"kacho@test.jp": BOX}, lines=10, answers=1),
            Letter("qu2", "bucho@test.jp", {"kacho@test.jp": BOX}, 0.001, 10, refused=True),
            Letter("qu1", "bucho@test.jp", {"kacho@test.jp": BOX}, 3.0, 10, refused=True),
        ),
        files=_PEOPLE | {"accounts.dat": FILES["accounts.dat"].replace(_KACHO, f"{_KACHO}\t\t\t\t800")},
    ),
}


class Ledger:
    """
    What must be found.

    @ivar tellers: the clients.
    @ivar given: by kind of daemon all message numbers that it gave out, in every life.
    @ivar written: what we wrote ourselves and is no notice, and who got it.
    @ivar doubtful: by token in how many files of queues it stood when power went that may have come back then, or were
        being handed over: so often may it be there once more.
    """

    def __init__(self, town: Town, tellers: list[Teller]) -> None:
        self.town = town
        self.tellers = {teller.letter.token: teller for teller in tellers}
        self.given: dict[str, list[int]] = {kind: [] for kind in KINDS}
        self.doubtful: Counter[str] = Counter()
        self.written: list[tuple[bytes, str]] = []

    def doubt(self, cut: tuple[str, ...]) -> None:
        """
        Power goes now. A message may be there twice afterwards where a queue that lost power may have forgotten that it
        passed it on, or where one that did not hears no reply.
        """
        for kind in KINDS:
            disk = self.town.disks[kind]
            for queue in QUEUES[:2]:
                folder = self.town.path(f"{kind}/{queue}")
                now = [disk.content(path) for path in disk.paths() if path.startswith(f"{folder}/")]
                for content in disk.stable(folder) if kind in cut else now:
                    self.doubtful.update(found.decode() for found in set(TOKEN.findall(content)))

    def resting(self) -> bool:
        """Whether nothing is left to be done."""
        return not any(self._waiting(kind) for kind in KINDS)

    def _waiting(self, kind: str) -> list[str]:
        return [name for name in self.town.queue(kind) if not name.startswith("dead")]

    def faults(self, cuts: int) -> list[str]:
        """What is wrong, one sentence each. @param cuts: how often power went."""
        wrong = [f"{kind}: {name} does not leave the queue" for kind in KINDS for name in self._waiting(kind)]
        copies = self._copies(wrong)
        for token, teller in self.tellers.items():
            letter = teller.letter
            taken = teller.acknowledged and len(teller.accepted) == len(letter.fates)
            if (not cuts or token == EPILOGUE.token) and taken == letter.refused:
                wrong.append(f"{token}: is {'' if taken else 'not '}taken, and nothing has failed")
            for recipient, fate, named in letter.ends():
                found = {kind: copies.pop((token, recipient, kind), 0) for kind in (BOX, OUTSIDE, RETURNED)}
                if teller.acknowledged and named in teller.accepted and not found[fate]:
                    wrong.append(f"{token}: got its 250 and is lost for {recipient}")
                if not (teller.finished and named in teller.accepted) and any(found.values()):
                    wrong.append(f"{token}: was never finished and is there for {recipient}")
                if found[fate] != sum(found.values()):
                    wrong.append(f"{token}: {recipient} should have it at {fate} alone: {found}")
                # What lies in a mailbox is known by its name, so who delivers it once more does not do so twice.
                handed = fate != BOX or letter.front != BACKEND
                if found[fate] > 1 + self.doubtful[token] * (handed and bool(cuts)):
                    wrong.append(f"{token}: is there {found[fate]} times for {recipient}, and had no reason")
        self._answered(wrong, cuts)
        wrong += [f"{token}: is at {kind} for {who}, who is no recipient" for token, who, kind in copies]
        for kind, numbers in self.given.items():
            twice = [number for number, count in Counter(numbers).items() if count > 1]
            wrong += [f"{kind}: number {number} is given twice" for number in twice]
        return wrong

    def _answered(self, wrong: list[str], cuts: int) -> None:
        """Each of our own letters is whole, and there are as many as there should be; each crash may make one more."""
        wrong += [f"a letter to {to} is torn: {text[-100:]!r}" for text, to in self.written if not OURS.search(text)]
        expected = sum(teller.letter.answers for teller in self.tellers.values())
        count = len(self.written)
        if count > expected + cuts * bool(expected) or (not cuts and count < expected):
            wrong.append(f"{count} letters of ours, {expected} expected")

    def twice(self) -> int:
        """How many copies there are beyond the first."""
        return sum(count - 1 for count in self._copies([]).values())

    def _copies(self, wrong: list[str]) -> Counter[tuple[str, str, str]]:
        """All that arrived: how often, by token, recipient and kind. What is not whole is told of."""
        copies: Counter[tuple[str, str, str]] = Counter()
        self.written.clear()
        for sender, recipients, lines in self.town.outside.taken:
            text = "".join(f"{line[1:] if line.startswith('.') else line}\r\n" for line in lines).encode()
            self._arrived(copies, wrong, text, [to.strip("<>") for to in recipients], OUTSIDE, sender.strip("<>"))
        disk, front = self.town.disks["backend"], self.town.path("backend/inbox") + "/"
        for path in sorted(disk.paths()):
            user, _, rest = path.removeprefix(front).partition("/")
            if not path.startswith(front) or rest.count("/") != 1:
                continue
            if not rest.startswith(("new/", "cur/")):
                wrong.append(f"{user}/{rest} is left over")
                continue
            content = disk.content(path)
            found = re.match(rb"Return-Path: <(.*)>\nDelivered-To: (.*)\n", content)
            if not found:
                wrong.append(f"{user}/{rest} is torn: {content[:60]!r}")
                continue
            text = content[found.end() :].replace(b"\n", b"\r\n")
            sender, recipient = found[1].decode(), found[2].decode()
            if recipient.partition("@")[0] != user:
                wrong.append(f"{user}/{rest} is another's")
            if sender:
                self._arrived(copies, wrong, text, [recipient], BOX, sender)
            elif b"\r\nContent-Type: text/plain; " in text:
                self.written.append((text, recipient))
            else:
                self._returned(copies, wrong, text, recipient)
        for kind in KINDS:
            for name, content in self._dead(kind):
                tokens = {found.decode() for found in TOKEN.findall(content)}
                torn = b"\ndead: damaged, or torn before it was acknowledged" in content  # if not, it is missed above
                if not torn and any(self.tellers[token].acknowledged for token in tokens if token in self.tellers):
                    wrong.append(f"{kind}: {name} was acknowledged: {content[-120:]!r}")
        return copies

    def _dead(self, kind: str) -> list[tuple[str, bytes]]:
        disk = self.town.disks[kind]
        return [(n, disk.content(self.town.path(f"{kind}/{n}"))) for n in self.town.queue(kind) if n.startswith("dead")]

    def _arrived(
        self,
        copies: Counter[tuple[str, str, str]],
        wrong: list[str],
        text: bytes,
        recipients: list[str],
        kind: str,
        sender: str,
    ) -> None:
        """One copy, with its trace fields in front."""
        found = TOKEN.search(text)
        teller = self.tellers.get(found[1].decode()) if found else None
        hops = 1 if kind == BOX and teller is not None and teller.letter.front == BACKEND else 2
        trace = re.match(rb"(?:Received: (?:[^\r\n]+\r\n[\t ])+[^\r\n]+\r\n){%d}(?!Received)" % hops, text)
        token = found[1].decode() if found else ""
        payload = text[trace.end() :] if trace else b""
        if teller is None or not all(self._whole(teller.letter, payload, sender, each) for each in recipients):
            wrong.append(f"{kind}, for {recipients}: {token or 'something'} is cut or mixed: {text[-100:]!r}")
        else:
            copies.update((token, recipient, kind) for recipient in recipients)

    @staticmethod
    def _whole(letter: Letter, payload: bytes, sender: str, recipient: str) -> bool:
        """Whether somebody has it as it was written, with what we have put in front."""
        expected = letter.senders.get(recipient, re.escape(letter.sender))
        mark = letter.marks.get(recipient, b"")
        return payload == mark + letter.payload() and re.fullmatch(expected, sender) is not None

    def _returned(self, copies: Counter[tuple[str, str, str]], wrong: list[str], text: bytes, recipient: str) -> None:
        """A notice: to the sender, with all of the message in it, ended by its delimiter."""
        tokens = TOKEN.findall(text)
        teller = self.tellers.get(tokens[0].decode()) if tokens else None
        boundary = re.search(rb'boundary="(.*)"\r\n', text)
        if teller is None or boundary is None:
            wrong.append(f"a notice to {recipient} is torn: {text[-100:]!r}")
            return
        delimiter = b"--" + boundary[1]
        told, original = text.split(b"\r\n" + delimiter + b"\r\n")[1:]
        whole = original.endswith(teller.letter.payload() + b"\r\n" + delimiter + b"--\r\n")
        if not whole or recipient != teller.letter.sender or original.count(b"Subject: ") != 1:
            wrong.append(f"the notice about {teller.letter.token} to {recipient} is cut or mixed: {text[-100:]!r}")
        for named in re.findall(r"\r\n(\S+@\S+)\r\n\r\n> ", told.decode()):
            copies[(teller.letter.token, named, RETURNED)] += 1


def makeTown(case: object, story: Story) -> Town:
    """The town of a story; no daemon has started yet."""
    town = Town(case, files=SHORTENED | story.files, begins=False)  # type: ignore[arg-type]
    town.net.segment = story.segment
    town.outside = Outside()
    town.outside.protocol = Picky
    town.stranger.ports[25] = town.outside
    return town
