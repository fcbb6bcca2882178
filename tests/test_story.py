"""
The seed's story, whole: both daemons as their commands compose them, on a network, disks and a clock in memory.

What they write is compared line for line with the seed's listings, which stand here as it prints them. Where ours
differ, L{READINGS} or the test says so, and which sentence of the specification allows it.
"""

import re
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineReceiver
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase

from epost import backend, daemon, gateway
from tests.japan import useJapanTime
from tests.world.client import Client
from tests.world.disk import World
from tests.world.net import Host, Net

NOON = 1246849200.0  # 2009-07-06 12:00:00 +0900

BACKEND = """\
[server]
name = "test.jp"
folder = "backend"
listen = ["tcp:25:interface=192.168.0.102"]
[domains]
local = ["test.jp"]
accounts = "accounts.dat"
postmaster = "bucho@test.jp"
[mailboxes]
place = 'inbox\\%USERNAME%'
[relay]
gateway = "192.168.0.103"
hello = "HELO"
networks = ["192.168.0.0/24"]
"""
GATEWAY = """\
[server]
name = "dc.epost.test"
folder = "gateway"
listen = ["tcp:25:interface=192.168.0.103"]
postmaster = "postmaster@test.jp"
[relay]
gateway = "203.0.113.25"
[tables]
effect = "effect.dat"
gateway = "gateway.dat"
"""
FILES = {
    "backend.toml": BACKEND,
    "gateway.toml": GATEWAY,
    "accounts.dat": "".join(f"{user}\tpass1234\t\ttest.jp\n" for user in ("user1", "bucho", "kacho", "baito")),
    "effect.dat": "#< default\n#blank false\nbaito@test.jp false\nuser1@test.jp false\n192.168.0.102 true\n",
    "gateway.dat": "test.jp, 192.168.0.102, 25\n",
}

SENDERLOG = """\
[16:25:52:734] [B0000000185] [test.jp] GetTryServer:(itime(12891338752)-otime(12891338752))/240=(0)
[16:25:52:734] [B0000000185] [test.jp] GetTryServer:(0)
[16:27:35:001] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35:001] [B0000000186] [test-sample00.jp] GetTryServer:(itime(12891338855)-otime(12891338854))/240=(0)
[16:27:35:001] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35:001] [B0000000186] ConnectHost(192.168.0.103)
[16:27:35:111] [B0000000186] SendMailMess:[16:27:35:111] 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon, 06 Jul
[16:27:35:111] [B0000000186] SendMailMess:HELO test.jp
[16:27:35:131] [B0000000186] SendMailMess:[16:27:35:131] 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[16:27:35:131] [B0000000186] SendMailMess:MAIL From: <baito@test.jp>
[16:27:35:171] [B0000000186] SendMailMess:[16:27:35:171] 550 Please, mail from a valid IP or Domain address.
[16:27:35:171] [B0000000186] SendMailMess:QUIT
[16:27:35:201] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35:201] [B0000000186] [test-sample00.jp] GetTryServer:(itime(12891338855)-otime(12891338854))/240=(0)
[16:27:35:201] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:29:34:933] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:34:933] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(itime(12891338974)-otime(12891338974))/240=(1)
[16:29:34:933] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:34:933] [B0000000186-R0001] ConnectHost(192.168.0.103)
[16:29:35:144] [B0000000186-R0001] SendMailMess:[16:29:35:144] 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon,
[16:29:35:144] [B0000000186-R0001] SendMailMess:HELO test.jp
[16:29:35:174] [B0000000186-R0001] SendMailMess:[16:29:35:174] 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[16:29:35:184] [B0000000186-R0001] SendMailMess:MAIL From: <baito@test.jp>
[16:29:35:224] [B0000000186-R0001] SendMailMess:[16:29:35:224] 550 Please, mail from a valid IP or Domain address.
[16:29:35:234] [B0000000186-R0001] SendMailMess:QUIT
[16:29:35:274] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:35:274] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(itime(12891338975)-otime(12891338975))/240=(1)
[16:29:35:274] [B0000000186-R0001] [test-sample00.jp] GetTryServer:(0)
[16:29:35:284] [B0000000186-001]:ReturnMail Start:RCPT To:baito@test.jp
[16:29:35:284] [B0000000186-R0001] [test.jp] GetTryServer:(0)
[16:29:35:284] [B0000000186-R0001] [test.jp] GetTryServer:(itime(12891338975)-otime(12891338975))/240=(1)
[16:29:35:284] [B0000000186-001]:ReturnMail Start:domain:[test.jp] smtp server:[192.168.0.103]
"""  # noqa: E501

RECEIVELOG = """\
[06/Jul/2009:16:23:57], 00153008, quit
[06/Jul/2009:16:23:57], 00153008, 221 dc.epost.test closing connection.
[06/Jul/2009:16:23:57], 00153008, CloseClient Started.:SOCKET.C
[06/Jul/2009:16:23:57], 00153008, closesocket():SOCKET.C
[06/Jul/2009:16:27:31], 00153008, 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon,
[06/Jul/2009:16:27:31], 00153008, HELO test.jp
[06/Jul/2009:16:27:31], 00153008, 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[06/Jul/2009:16:27:31], 00153008, MAIL From: <baito@test.jp>
[06/Jul/2009:16:27:31], 00153008, 550 Please, mail from a valid IP or Domain address.
[06/Jul/2009:16:27:31], 00153008, QUIT
[06/Jul/2009:16:27:31], 00153008, 221 dc.epost.test closing connection.
[06/Jul/2009:16:27:31], 00153008, CloseClient Started.:SOCKET.C
[06/Jul/2009:16:27:31], 00153008, closesocket():SOCKET.C
[06/Jul/2009:16:29:30], 00153008, 220 dc.epost.test E-POST ESMTTP Receiver (4.58) Bld:CAAIGADJA Mon,
[06/Jul/2009:16:29:30], 00153008, HELO test.jp
[06/Jul/2009:16:29:30], 00153008, 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[06/Jul/2009:16:29:30], 00153008, MAIL From: <baito@test.jp>
[06/Jul/2009:16:29:30], 00153008, 550 Please, mail from a valid IP or Domain address.
[06/Jul/2009:16:29:30], 00153008, QUIT
"""

NOTICE = """\
Subject: Delivery failure
From: postmaster@test.jp
To: baito@test.jp
Date: Mon, 06 Jul 2009 16:29:35 +0900
Message-Id: <B0000000186@test.jp>
Content-Type: multipart/mixed;
    boundary="-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA="

-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA=
Content-Type: text/plain

Your message has encountered delivery problems to the following recipients:
user2@test-sample00.jp

> 550 Please, mail from a valid IP or Domain address.

-----TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA=
Content-Type: message/rfc822

Received: from (unverified [192.168.0.102]) by test.jp
(E-POST ESMTP Receiver (4.56)) with ESMTP id <B0000000186@test.jp>;
Mon, 06 Jul 2009 16:26:58 +0900
subject:test4
Message-Id: <B0000000186@test.jp>
Date: Mon, 06 Jul 2009 16:27:34 +0900
From: baito@test.jp
"""

# How the seed is read: what it prints, what stands there, why.
Reading = tuple[str, str, str]
READINGS: tuple[Reading, ...] = (
    (r"(\d\d:\d\d:\d\d):\d\d\d\]", r"\1]", "thousandths are how long a machine and a wire took, not what it does"),
    (r"ESMTTP", "ESMTP", "spec 9: a damaged transcription"),
    (r"(16:27:35\].*CAAIGADJA Mon,).*", r"\1 06 Jul 2009 16:27:31 +0900", "spec 9: the window cut the line"),
    (r"(16:29:35\].*CAAIGADJA Mon,).*", r"\1 06 Jul 2009 16:29:30 +0900", "spec 9: the window cut the line"),
    (r"(2009:)(16:2\d:3\d)(\].*CAAIGADJA Mon,).*", r"\1\2\3 06 Jul 2009 \2 +0900", "spec 9: the same in receivelog"),
)
NOTICE_READINGS: tuple[Reading, ...] = (
    (r"\n-----(?=TW9u)", "\n-------", "spec 9, valid MIME: a delimiter is two dashes and the boundary"),
    (r'(boundary=".*")', "\\1\nMIME-Version: 1.0\nAuto-Submitted: auto-replied", "spec 9: they follow Content-Type"),
    (r"from \(", "from baito-pc (", "spec 8: the seed's HELO is empty, we write it"),
    (r"\n\(E-POST", "\n\t(E-POST", "spec 8: folded with a TAB"),
    (r"\n(.*) 16:26:58", r"\n\t\1 16:27:34", "spec 8, TAB; spec 9: Received carries the time of MAIL or of the end"),
    (r"\Z", "\nhello\n\n-------TW9uLCAwNiBKdWwgMjAwOSAxNjoyOTozNSArMDkwMHRlc3QuanA=--\n", "spec 9: the window's end"),
    (r"\A", "Return-Path: <>\nDelivered-To: baito@test.jp\n", "RFC 5321 4.4, for who opens the mailbox"),
)


def read(listing: str, readings: Iterable[Reading] = READINGS) -> str:
    """A listing of the seed as it is to be read."""
    for pattern, text, _ in readings:
        listing = re.sub(pattern, text, listing, flags=re.MULTILINE)
    return listing


def numbered(lines: list[str]) -> list[str]:
    """receivelog with a number for each connection (spec 7; the seed has 00153008 on all). It ends with closesocket."""
    number, numbered = 1, []
    for line in lines:
        numbered.append(line.replace("00153008", f"{number:08x}"))
        number += "closesocket" in line
    return numbered


class Thread(ThreadPool):
    """The committing thread: a call takes C{seconds} and nothing happens meanwhile."""

    def __init__(self, host: Host, seconds: float) -> None:
        super().__init__()
        self._host = host
        self._seconds = seconds

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nor to stop."""

    def callInThread(self, func: Callable[..., object], *args: Any, **kw: Any) -> None:
        """Later."""
        self._host.callLater(self._seconds, func, *args, **kw)


class Talk(LineReceiver):
    """One connection to L{Outside}."""

    def connectionMade(self) -> None:
        """A greeting."""
        self._content: list[str] | None = None
        self.sendLine(b"220 mx.test-sample00.jp")

    def lineReceived(self, line: bytes) -> None:
        """A command or content."""
        text = line.decode()
        if self._content is not None:
            if text != ".":
                self._content.append(text)
                return
            self.factory.taken.append((self._sender, self._recipients, self._content))
            self._content = None
        elif text.startswith("MAIL FROM:"):
            self._sender, self._recipients = text[10:], []
        elif text.startswith("RCPT TO:"):
            self._recipients.append(text[8:])
        elif text == "DATA":
            self._content = []
            self.sendLine(b"354 go on")
            return
        self.sendLine(b"250 mx.test-sample00.jp")


class Outside(ServerFactory):
    """A mail server that takes everything. @ivar taken: sender, recipients and lines of content of each message."""

    noisy = False
    protocol = Talk

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], list[str]]] = []


class StoryTests(SynchronousTestCase):
    """The pair does what the seed shows."""

    maxDiff = None

    def setUp(self) -> None:
        """The afternoon of 6 July 2009: both daemons run, and so does a mail server of test-sample00.jp."""
        useJapanTime(self)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.patch(daemon, "BUILD", "CAAIGADJA")
        self.net = Net(NOON)
        self.net.seconds = 0.05
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        for name, text in FILES.items():
            (self.folder / name).write_text(text)
        self.disks = {"backend": World(), "gateway": World()}
        self.disks["backend"].put(self.path("backend/serial"), b"0000000185\n")
        self.desk = self.net.host("192.168.0.102")  # the seed's client sits at the back-end itself
        self.gate = self.net.host("192.168.0.103", skew=-4.0)  # spec 9: two clocks
        self.stranger = self.net.host("203.0.113.25")
        self.outside = Outside()
        self.stranger.listenTCP(25, self.outside)
        self.services: dict[str, Any] = {}
        self.addCleanup(lambda: [self.stop(kind) for kind in self.services])
        self.start("backend")
        self.start("gateway")
        self.net.run(1)

    def start(self, kind: str) -> None:
        """Start a daemon as twistd does."""
        command, host, version = {
            "backend": (backend, self.desk, "4.56"),
            "gateway": (gateway, self.gate, "4.58"),
        }[kind]
        self.patch(daemon, "__version__", version)
        options = command.Options()
        options.parseOptions(["--config", self.path(f"{kind}.toml")])
        service = command.makeService(options, host, self.disks[kind], Thread(host, 0.034))
        service.privilegedStartService()
        service.startService()
        self.services[kind] = service

    def stop(self, kind: str) -> None:
        """Stop it as twistd does."""
        if self.services[kind].running:
            self.successResultOf(self.wait(self.services[kind].stopService()))

    def wait(self, done: "Deferred[Any]") -> "Deferred[Any]":
        """Let time pass until it has fired."""
        self.net.until(lambda: done.called)
        return done

    def path(self, name: str) -> str:
        """A path of the world's disk, and of the machine's for lock and logs."""
        return str(self.folder / name)

    def at(self, clock: str) -> None:
        """Wait until the back-end's clock shows HH:MM:SS.mmm."""
        hours, minutes, seconds = clock.split(":")
        self.net.run(NOON + (int(hours) - 12) * 3600 + int(minutes) * 60 + float(seconds) - self.net.now)

    def submit(self, sender: str, *recipients: str) -> None:
        """Somebody's mail program hands over a message, which is queued 450 ms after that was begun."""
        client = Client(self.desk, "192.168.0.102")
        client.reply()
        client.say("EHLO baito-pc")
        self.assertEqual(client.mail(sender, list(recipients), b"subject:test4\r\n\r\nhello\r\n")[:3], "250")
        client.say("QUIT")

    def refused(self, sender: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The seed's message, at the seed's time. @param meanwhile: what happens between the two attempts."""
        self.at("16:27:34.483")
        self.submit(sender, "user2@test-sample00.jp")
        self.at("16:28:00.000")
        meanwhile()
        self.gate.skew = -4.4  # by the seed the two clocks do not even go at the same speed
        self.at("16:35:00.000")

    def log(self, name: str) -> list[str]:
        """The lines of a log."""
        for service in self.services.values():
            service.senderLog.flush()
            service.receiveLog.flush()
        file = self.folder / f"{name}/090706.log"
        return read(file.read_text(), READINGS[:1]).splitlines() if file.exists() else []

    def box(self, user: str) -> dict[str, str]:
        """A mailbox: contents by file name."""
        disk, folder = self.disks["backend"], self.path(f"backend/inbox/{user}/new") + "/"
        return {path[len(folder) :]: disk.content(path).decode() for path in disk.paths() if path.startswith(folder)}

    def queue(self, kind: str) -> list[str]:
        """What stands in a queue."""
        below = tuple(self.path(f"{kind}/{name}") + "/" for name in ("incoming", "holding", "dead"))
        return sorted(path for path in self.disks[kind].paths() if path.startswith(below))

    def test_theSeed(self) -> None:
        """The seed, from the first line of its listings to the last; nothing reaches the outside, nothing is left."""
        self.at("16:24:01.000")
        somebody = Client(self.desk, "192.168.0.103")
        somebody.reply()
        somebody.say("quit")
        self.at("16:25:52.284")
        self.submit("bucho@test.jp", "kacho@test.jp")
        self.refused("baito@test.jp")
        first, *sent = self.log("backend/senderlog")
        self.assertEqual(sent, read(SENDERLOG).splitlines())
        # The window hides the first line, and of receivelog the begin of one session and the end of another.
        self.assertEqual(first, "[16:25:52] [B0000000185] [test.jp] GetTryServer:(0)")
        greeting, *received = self.log("gateway/receivelog")
        self.assertRegex(greeting, r"^\[06/Jul/2009:16:23:57\], 00000001, 220 dc\.epost\.test ")
        self.assertEqual(received[:-3], numbered(read(RECEIVELOG).splitlines()))
        self.assertEqual(
            received[-3:], [line.replace("27:31], 00000002", "29:30], 00000003") for line in received[10:13]]
        )
        self.assertEqual(self.box("baito"), {"B0000000186-R0001-E001.MSG": read(NOTICE, NOTICE_READINGS)})
        self.assertEqual((self.outside.taken, self.queue("backend"), self.queue("gateway")), ([], [], []))
