"""
The seed's story, whole: both daemons as their commands compose them, on a network, disks and a clock in memory.

What they write is compared line for line with the seed's listings, which stand here as it prints them. Where ours
differ, L{READINGS} or the test says so, and which sentence of the specification allows it.
"""

import re
from collections.abc import Callable, Iterable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.world.client import Client
from tests.world.town import Town

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

# What the seed does not show, by spec 6, 7 and 8.
BUCHO_SENT = """\
[16:27:35] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35] [B0000000186] [test-sample00.jp] GetTryServer:(itime(12891338855)-otime(12891338854))/240=(0)
[16:27:35] [B0000000186] [test-sample00.jp] GetTryServer:(0)
[16:27:35] [B0000000186] ConnectHost(192.168.0.103)
[16:27:35] [B0000000186] SendMailMess:[16:27:35] 220 dc.epost.test E-POST ESMTP Receiver (4.58) Bld:CAAIGADJA Mon, 06 Jul 2009 16:27:31 +0900
[16:27:35] [B0000000186] SendMailMess:HELO test.jp
[16:27:35] [B0000000186] SendMailMess:[16:27:35] 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[16:27:35] [B0000000186] SendMailMess:MAIL From: <bucho@test.jp>
[16:27:35] [B0000000186] SendMailMess:[16:27:35] 250 <bucho@test.jp>... Sender ok.
[16:27:35] [B0000000186] SendMailMess:RCPT To: <user2@test-sample00.jp>
[16:27:35] [B0000000186] SendMailMess:[16:27:35] 250 <user2@test-sample00.jp>... Recipient ok.
[16:27:35] [B0000000186] SendMailMess:DATA
[16:27:35] [B0000000186] SendMailMess:[16:27:35] 354 Start mail input;id <B0000000001> end with <CRLF>.<CRLF>
[16:27:35] [B0000000186] SendMailMess:[16:27:35] 250 Message received ok.
[16:27:35] [B0000000186] SendMailMess:QUIT
"""  # noqa: E501
BUCHO_RECEIVED = """\
[06/Jul/2009:16:27:31], 00000001, 220 dc.epost.test E-POST ESMTP Receiver (4.58) Bld:CAAIGADJA Mon, 06 Jul 2009 16:27:31 +0900
[06/Jul/2009:16:27:31], 00000001, HELO test.jp
[06/Jul/2009:16:27:31], 00000001, 250 dc.epost.test Hello [192.168.0.102], pleased to meet you
[06/Jul/2009:16:27:31], 00000001, MAIL From: <bucho@test.jp>
[06/Jul/2009:16:27:31], 00000001, 250 <bucho@test.jp>... Sender ok.
[06/Jul/2009:16:27:31], 00000001, RCPT To: <user2@test-sample00.jp>
[06/Jul/2009:16:27:31], 00000001, 250 <user2@test-sample00.jp>... Recipient ok.
[06/Jul/2009:16:27:31], 00000001, DATA
[06/Jul/2009:16:27:31], 00000001, 354 Start mail input;id <B0000000001> end with <CRLF>.<CRLF>
[06/Jul/2009:16:27:31], 00000001, 250 Message received ok.
[06/Jul/2009:16:27:31], 00000001, QUIT
[06/Jul/2009:16:27:31], 00000001, 221 dc.epost.test closing connection.
[06/Jul/2009:16:27:31], 00000001, CloseClient Started.:SOCKET.C
[06/Jul/2009:16:27:31], 00000001, closesocket():SOCKET.C
"""  # noqa: E501
BUCHO_CONTENT = """\
Received: from test.jp (unverified [192.168.0.102]) by dc.epost.test
    (E-POST ESMTP Receiver (4.58)) with SMTP id <B0000000001@dc.epost.test>;
    Mon, 06 Jul 2009 16:27:31 +0900
Received: from pc (unverified [192.168.0.102]) by test.jp
    (E-POST ESMTP Receiver (4.56)) with ESMTP id <B0000000186@test.jp>;
    Mon, 06 Jul 2009 16:27:34 +0900
subject:test4
Message-Id: <B0000000186@test.jp>
Date: Mon, 06 Jul 2009 16:27:34 +0900
From: bucho@test.jp

hello
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
    (r"from \(", "from pc (", "spec 8: the seed's HELO is empty, we write it"),
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


REFUSED = [line for line in read(SENDERLOG).splitlines() if "B0000000186" in line]


def numbered(lines: list[str]) -> list[str]:
    """receivelog with a number for each connection (spec 7; the seed has 00153008 on all). It ends with closesocket."""
    number, numbered = 1, []
    for line in lines:
        numbered.append(line.replace("00153008", f"{number:08x}"))
        number += "closesocket" in line
    return numbered


class StoryTests(SynchronousTestCase):
    """The pair does what the seed shows."""

    maxDiff = None

    def log(self, town: Town, name: str) -> list[str]:
        """The lines of a log, without thousandths."""
        return read("\n".join(town.log(name)), READINGS[:1]).splitlines()

    def refused(self, town: Town, sender: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The seed's message, at the seed's time. @param meanwhile: what happens between the two attempts."""
        town.at("16:27:34.483")
        town.submit(sender, "user2@test-sample00.jp")
        town.at("16:28:00.000")
        meanwhile()
        town.gate.skew = -4.4  # by the seed the two clocks do not even go at the same speed
        town.at("16:35:00.000")

    def test_theSeed(self) -> None:
        """The seed, from the first line of its listings to the last; nothing reaches the outside, nothing is left."""
        town = Town(self, serial=185)
        town.at("16:24:01.000")
        somebody = Client(town.desk, "192.168.0.103")
        somebody.reply()
        somebody.say("quit")
        town.at("16:25:52.284")
        town.submit("bucho@test.jp", "kacho@test.jp")
        self.refused(town, "baito@test.jp")
        first, *sent = self.log(town, "backend/senderlog")
        self.assertEqual(sent, read(SENDERLOG).splitlines())
        # The window hides the first line, and of receivelog the begin of one session and the end of another.
        self.assertEqual(first, "[16:25:52] [B0000000185] [test.jp] GetTryServer:(0)")
        greeting, *received = self.log(town, "gateway/receivelog")
        self.assertRegex(greeting, r"^\[06/Jul/2009:16:23:57\], 00000001, 220 dc\.epost\.test ")
        self.assertEqual(received[:-3], numbered(read(RECEIVELOG).splitlines()))
        end = [line.replace("27:31], 00000002", "29:30], 00000003") for line in received[10:13]]
        self.assertEqual(received[-3:], end)
        self.assertEqual(town.box("baito"), {"B0000000186-R0001-E001.MSG": read(NOTICE, NOTICE_READINGS)})
        self.assertEqual((town.outside.taken, town.queue("backend"), town.queue("gateway")), ([], [], []))

    def test_user1(self) -> None:
        """user1 fares the same, to the letter."""
        town = Town(self)
        self.refused(town, "user1@test.jp")
        self.assertEqual([line.replace("user1", "baito") for line in self.log(town, "backend/senderlog")], REFUSED)
        notice = town.box("user1")["B0000000186-R0001-E001.MSG"].replace("user1", "baito")
        self.assertEqual(notice, read(NOTICE, NOTICE_READINGS))
        self.assertEqual(town.outside.taken, [])

    def test_aRestartBetweenTheAttempts(self) -> None:
        """Who stops the back-end after the first attempt and starts it again reads the same log and notice."""
        town = Town(self)
        self.refused(town, "baito@test.jp", lambda: (town.stop("backend"), town.start("backend")))
        self.assertEqual(self.log(town, "backend/senderlog"), REFUSED)
        self.assertEqual(town.box("baito"), {"B0000000186-R0001-E001.MSG": read(NOTICE, NOTICE_READINGS)})

    def test_aPowerCutBetweenTheAttempts(self) -> None:
        """Nor does a power cut matter, whatever of what was not synced the disk kept: baito is told all the same."""
        for seed in range(4):
            town = Town(self)
            self.refused(town, "baito@test.jp", lambda: town.powerCut(Random(seed)))  # noqa: B023
            self.assertEqual(list(town.box("baito")), ["B0000000186-R0001-E001.MSG"], seed)
            self.assertEqual((town.outside.taken, town.queue("backend")), ([], []), seed)

    def test_bucho(self) -> None:
        """bucho gets through: no rule names him, and the last line of effect.dat lets the back-end's machine send."""
        town = Town(self)
        town.at("16:27:34.483")
        town.submit("bucho@test.jp", "user2@test-sample00.jp")
        town.at("16:28:00.000")
        self.assertEqual(self.log(town, "backend/senderlog"), BUCHO_SENT.splitlines())
        self.assertEqual(self.log(town, "gateway/receivelog"), BUCHO_RECEIVED.splitlines())
        content = BUCHO_CONTENT.replace("    ", "\t").splitlines()
        self.assertEqual(town.outside.taken, [("<bucho@test.jp>", ["<user2@test-sample00.jp>"], content)])
        self.assertEqual((town.queue("backend"), town.queue("gateway")), ([], []))

    def test_inside(self) -> None:
        """baito may write to colleagues: each has one copy, and the gateway hears nothing of it."""
        town = Town(self)
        town.at("16:25:52.184")
        town.submit("baito@test.jp", "user1@test.jp", "kacho@test.jp")
        town.at("16:28:00.000")
        for user in ("user1", "kacho"):
            self.assertEqual(list(town.box(user)), ["B0000000186.MSG"])
            front, _, content = town.box(user)["B0000000186.MSG"].partition("Received: ")
            self.assertEqual(front, f"Return-Path: <baito@test.jp>\nDelivered-To: {user}@test.jp\n")
            self.assertTrue(content.startswith("from pc (unverified [192.168.0.102]) by test.jp\n"))
            self.assertTrue(content.endswith("\nFrom: baito@test.jp\n\nhello\n"))
        middle, last = [line.replace("0185", "0186") for line in read(SENDERLOG).splitlines()[:2]]
        self.assertEqual(self.log(town, "backend/senderlog"), [last, middle, last] * 2)
        self.assertEqual(self.log(town, "gateway/receivelog"), [])

    def test_fromOutside(self) -> None:
        """The outside may write to kacho, to nobody who is not there, and to nobody else through us."""
        town = Town(self)
        client = Client(town.stranger, "192.168.0.103")
        client.reply()
        client.say("EHLO mx.test-sample00.jp", "MAIL FROM:<user2@test-sample00.jp>")
        self.assertEqual(client.say("RCPT TO:<nobody@test.jp>"), "550 5.1.1 <nobody@test.jp> ... User unknown.")
        self.assertEqual(
            client.say("RCPT TO:<somebody@example.com>"),
            "550 5.7.1 Sorry somebody@example.com, I don't allow unauthorized relaying.",
        )
        self.assertEqual(client.say("RCPT TO:<kacho@test.jp>"), "250 2.1.5 <kacho@test.jp>... Recipient ok.")
        client.say("DATA")
        client.write(b"Subject: hello\r\n\r\nfrom outside\r\n.\r\n")
        self.assertEqual(client.reply(), ["250 2.0.0 Message received ok. <B0000000001>"])
        town.net.run(10)
        (text,) = town.box("kacho").values()
        self.assertRegex(text, r"(?s)\AReturn-Path: <user2@.*by test\.jp\n.*by dc\.epost\.test\n.*\nfrom outside\n\Z")
        self.assertEqual(town.queue("gateway"), [])

    def test_theEnd(self) -> None:
        """Who stops the pair while a message waits finds it in the queue; clients are told, and no port is open."""
        town = Town(self)
        town.submit("baito@test.jp", "user2@test-sample00.jp")
        client = Client(town.stranger, "192.168.0.103")
        town.net.run(10)
        town.stop("backend")
        town.stop("gateway")
        self.assertEqual(client.reply()[0][:3], "220")
        self.assertEqual(client.reply(), ["421 dc.epost.test Service shutting down, closing connection."])
        self.assertEqual((town.desk.ports, town.gate.ports), ({}, {}))
        self.assertEqual(town.queue("backend"), ["holding/B0000000186-R0001"])
