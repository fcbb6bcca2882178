"""
The seed's story, whole: both daemons as their commands compose them, on a network, disks and a clock in memory.

What they write is compared line for line with the seed's listings, as L{tests.seed} reads them. Where ours differ
besides, the test says so.
"""

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from epost.storage.room import BLOCK, OCTETS
from tests.seed import NOTICE, NOTICE_READINGS, READINGS, RECEIVELOG, REFUSED, SENDERLOG, numbered, read
from tests.world.client import Client
from tests.world.town import Town

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

    def test_aPowerCutAtAnyMoment(self) -> None:
        """
        Nor does a power cut matter, whenever it comes and whatever of what was not synced the disk kept: who heard 250
        is told of the refusal, the notice is whole, nothing reaches the outside, and nothing stays in the queue.
        """
        heard = 0
        for moment in (*range(0, 500, 20), *range(120_000, 120_500, 20)):  # thousandths
            town = Town(self)
            client = Client(town.net.host("192.168.0.7"), "192.168.0.102")
            town.stranger.callLater(moment / 1000, town.powerCut, Random(moment))
            client.hear(
                "EHLO pc", "MAIL FROM:<baito@test.jp>", "RCPT TO:<user2@test-sample00.jp>", "DATA", "hello", "."
            )
            town.net.run(600)
            accepted = "250 2.0.0 Message received ok." in client.heard.decode()
            notices = town.box("baito")
            heard += accepted
            self.assertTrue(notices or not accepted, moment)
            for text in notices.values():
                self.assertRegex(text, r"(?s)\nuser2@.*> 550 Please, .*\nhello\n.*=--\n\Z", moment)
            self.assertEqual((town.outside.taken, town.queue("backend")), ([], []), moment)
        self.assertGreater(heard, 30)

    def test_bucho(self) -> None:
        """bucho gets through, and so does kacho: no rule names them, and the last lets the back-end's machine send."""
        for user in ("bucho", "kacho"):
            town = Town(self)
            town.at("16:27:34.483")
            town.submit(f"{user}@test.jp", "user2@test-sample00.jp")
            town.at("16:28:00.000")
            sent = "\n".join(self.log(town, "backend/senderlog")).replace(user, "bucho")
            received = "\n".join(town.log("gateway/receivelog")).replace(user, "bucho")
            self.assertEqual((sent, received), (BUCHO_SENT.rstrip(), BUCHO_RECEIVED.rstrip()))
            content = BUCHO_CONTENT.replace("    ", "\t").replace("bucho", user).splitlines()
            self.assertEqual(town.names.asked[:1], ["MX test-sample00.jp"])
            self.assertEqual(town.outside.taken, [(f"<{user}@test.jp>", ["<user2@test-sample00.jp>"], content)])
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

    def test_roomForCopies(self) -> None:
        """Where the disk has room for the copies of one message one is taken after the other; for fewer, none."""
        town = Town(self)
        disk = town.disks["backend"]
        for number in (186, 187):
            disk.room = OCTETS + 3 * BLOCK
            accepted = town.submit("baito@test.jp", "user1@test.jp", "kacho@test.jp")
            self.assertEqual(accepted, f"250 2.0.0 Message received ok. <B0000000{number}>")
            town.net.run(10)
        self.assertEqual((len(town.box("user1")), len(town.box("kacho")), town.queue("backend")), (2, 2, []))
        disk.room = OCTETS + BLOCK
        client = Client(town.desk, "192.168.0.102")
        client.reply()
        client.say("EHLO pc", "MAIL FROM:<baito@test.jp>", "RCPT TO:<user1@test.jp>", "RCPT TO:<kacho@test.jp>")
        self.assertEqual(client.say("DATA")[:9], "452 4.3.1")

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
