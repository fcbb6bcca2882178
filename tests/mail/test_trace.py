"""The fields that we put in front of a message (spec 8)."""

import os
import time

from twisted.trial.unittest import SynchronousTestCase

from epost.mail import trace
from epost.mail.address import parseAddress
from epost.mail.decision import Client
from epost.mail.name import numbered

WHEN = 1246865254.9  # 2009-07-06 16:27:34 +0900
BAITO = parseAddress("baito@test.jp")


class TraceTests(SynchronousTestCase):
    """L{epost.mail.trace} writes what the seed shows."""

    def setUp(self) -> None:
        """The seed's machines stand in Japan."""
        self.zone("Asia/Tokyo")
        self.addCleanup(self.zone, os.environ.get("TZ"))

    def zone(self, name: str | None) -> None:
        """Change the local time."""
        os.environ.pop("TZ", None)
        if name is not None:
            os.environ["TZ"] = name
        time.tzset()

    def received(self, client: Client, utf8: bool = False) -> str:
        """The field of the seed's message."""
        return trace.received(client, "test.jp", "4.56", numbered(186), utf8, WHEN).decode()

    def test_date(self) -> None:
        """The date of the seed, to the second that has begun."""
        self.assertEqual(trace.date(WHEN), "Mon, 06 Jul 2009 16:27:34 +0900")

    def test_dateInOtherZones(self) -> None:
        """Local time, also west of Greenwich, by half hours, and where the zone changes while we run."""
        for zone, expected in (
            ("UTC", "Mon, 06 Jul 2009 07:27:34 +0000"),
            ("America/St_Johns", "Mon, 06 Jul 2009 04:57:34 -0230"),
            ("Asia/Kolkata", "Mon, 06 Jul 2009 12:57:34 +0530"),
        ):
            self.zone(zone)
            self.assertEqual(trace.date(WHEN), expected)

    def test_received(self) -> None:
        """Three lines, folded with TAB, with what the client called itself."""
        self.assertEqual(
            self.received(Client("192.168.0.102", "pc5", True)),
            "Received: from pc5 (unverified [192.168.0.102]) by test.jp\r\n"
            "\t(E-POST ESMTP Receiver (4.56)) with ESMTP id <B0000000186@test.jp>;\r\n"
            "\tMon, 06 Jul 2009 16:27:34 +0900\r\n",
        )

    def test_receivedWithoutHelo(self) -> None:
        """The seed's own first line, where the client gave no name."""
        first = self.received(Client("192.168.0.102")).splitlines()[0]
        self.assertEqual(first, "Received: from (unverified [192.168.0.102]) by test.jp")

    def test_with(self) -> None:
        """The protocol's name by RFC 3848 and RFC 6531, for every combination."""
        for extended, utf8, tls, account, expected in (
            (False, False, "", None, "SMTP"),
            (True, False, "", None, "ESMTP"),
            (True, False, "TLSv1.3 X", None, "ESMTPS"),
            (True, False, "", BAITO, "ESMTPA"),
            (True, False, "TLSv1.3 X", BAITO, "ESMTPSA"),
            (True, True, "", None, "UTF8SMTP"),
            (True, True, "TLSv1.3 X", BAITO, "UTF8SMTPSA"),
        ):
            client = Client("192.0.2.1", "a", extended, account, tls)
            self.assertIn(f" with {expected} id <", self.received(client, utf8))

    def test_cipher(self) -> None:
        """Under TLS the cipher stands behind the id (RFC 8314 4.3)."""
        client = Client("192.0.2.1", "a", True, None, "TLSv1.3 TLS_AES_256_GCM_SHA384")
        self.assertIn(" id <B0000000186@test.jp> tls TLS_AES_256_GCM_SHA384;\r\n", self.received(client))

    def test_ipv6(self) -> None:
        """An IPv6 client stands there as an address literal."""
        self.assertIn("(unverified [IPv6:2001:db8::1])", self.received(Client("2001:db8::1", "a")))

    def test_heloForgesNothing(self) -> None:
        """Nothing that a client calls itself ends the line, the comment or the field, or makes it over-long."""
        line = self.received(Client("192.0.2.1", "a) by evil; (\r\nSubject: \x00\udc80é" + "x" * 9000)).splitlines()[0]
        self.assertRegex(line, r"\AReceived: from [\x21-\x7e]{255} \(unverified \[192\.0\.2\.1\]\) by test\.jp\Z")
        self.assertEqual(line.count(")") + line.count("(") + line.count(";"), 2)

    def test_delivery(self) -> None:
        """Return-Path and Delivered-To; the null reverse path stays empty."""
        self.assertEqual(
            trace.delivery(BAITO, parseAddress("bucho@test.jp")),
            b"Return-Path: <baito@test.jp>\r\nDelivered-To: bucho@test.jp\r\n",
        )
        self.assertTrue(trace.delivery(None, BAITO).startswith(b"Return-Path: <>\r\n"))

    def test_missing(self) -> None:
        """Message-Id, Date and From, in this order; no From for nobody."""
        self.assertEqual(
            list(trace.missing(numbered(186), "test.jp", BAITO, WHEN).items()),
            [
                ("message-id", b"Message-Id: <B0000000186@test.jp>\r\n"),
                ("date", b"Date: Mon, 06 Jul 2009 16:27:34 +0900\r\n"),
                ("from", b"From: baito@test.jp\r\n"),
            ],
        )
        self.assertNotIn("from", trace.missing(numbered(186), "test.jp", None, WHEN))
