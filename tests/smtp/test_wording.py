"""The words of spec 8, to the letter."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.name import numbered
from epost.mail.reply import Reply
from epost.smtp import wording

PATH = parseAddress("b@test.jp")
NAME = numbered(186)
HOST = "dc.epost.test"

# reply, after HELO, enhanced code
TABLE: list[tuple[Reply, str, str]] = [
    (wording.senderOk(PATH), "250 <b@test.jp>... Sender ok.", "2.1.0"),
    (wording.senderOk(None), "250 <>... Sender ok.", "2.1.0"),
    (wording.recipientOk(PATH), "250 <b@test.jp>... Recipient ok.", "2.1.5"),
    (wording.received(NAME, False), "250 Message received ok.", "2.0.0"),
    (wording.closing(HOST), "221 dc.epost.test closing connection.", "2.0.0"),
    (wording.reset(), "250 Reset state", "2.0.0"),
    (wording.invalidSender(), "550 Please, mail from a valid IP or Domain address.", "5.7.1"),
    (wording.noAccount(), "550 Please, mail from a valid e-mail address.", "5.1.8"),
    (wording.restricted(), "550 Please mail to a valid e-mail address.", "5.1.1"),
    (wording.unknownUser(PATH), "550 <b@test.jp> ... User unknown.", "5.1.1"),
    (wording.relaying(PATH), "550 Sorry b@test.jp, I don't allow unauthorized relaying.", "5.7.1"),
    (wording.boxFull(), "450 Sorry. e-mail address box is full.", "4.2.2"),
    (wording.tooManyRecipients(), "452 Address exceeds a maximum.", "4.5.3"),
    (wording.tooBig(), "552 Requested mail action aborted: exceeded storage allocation.", "5.3.4"),
    (wording.tooManyReceived(), "554 too many Received: headers.", "5.4.6"),
]

# reply, code, enhanced code: where the text is ours
CODES: list[tuple[Reply, int, str]] = [
    (wording.done(), 250, "2.0.0"),
    (wording.bareLineEnds(), 554, "5.6.0"),
    (wording.longLines(), 554, "5.6.0"),
    (wording.badArgument(), 501, "5.5.4"),
    (wording.unknownCommand(), 500, "5.5.2"),
    (wording.lineTooLong(), 500, "5.5.2"),
    (wording.badSequence("send MAIL"), 503, "5.5.1"),
    (wording.unknownParameter(), 555, "5.5.4"),
    (wording.diskFull(), 452, "4.3.1"),
    (wording.notNow(), 451, "4.3.0"),
    (wording.busy(HOST), 421, "4.3.2"),
    (wording.shuttingDown(HOST), 421, "4.3.2"),
    (wording.timedOut(HOST), 421, "4.4.2"),
    (wording.tooManyErrors(HOST), 421, "4.7.0"),
    (wording.tooManyConnections(HOST), 421, "4.7.0"),
    (wording.plainSender(), 550, "5.6.7"),
    (wording.plainRecipient(), 553, "5.6.7"),
]


class WordingTests(SynchronousTestCase):
    """What clients are told."""

    def test_eposts(self) -> None:
        """After HELO E-Post's words stand alone, after EHLO the enhanced code is in front of the text."""
        for reply, line, status in TABLE:
            self.assertEqual(reply.written(False), [line])
            self.assertEqual(reply.written(True), [f"{line[:4]}{status} {line[4:]}"])

    def test_ours(self) -> None:
        """Where E-Post has no words, code and enhanced code are those of the RFCs."""
        for reply, code, status in CODES:
            self.assertEqual((reply.code, reply.enhanced), (code, status), reply)

    def test_name(self) -> None:
        """After EHLO the reply to the end of data names the message."""
        self.assertEqual(wording.received(NAME, True).written(True), ["250 2.0.0 Message received ok. <B0000000186>"])

    def test_noEnhancedCode(self) -> None:
        """Banner, the answers to HELO and EHLO, and 354 have no enhanced code."""
        date = "Mon, 06 Jul 2009 16:27:31 +0900"
        self.assertEqual(
            wording.banner(HOST, "4.58", "CAAIGADJA", date).written(True),
            ["220 dc.epost.test E-POST ESMTP Receiver (4.58) Bld:CAAIGADJA Mon, 06 Jul 2009 16:27:31 +0900"],
        )
        self.assertEqual(
            wording.hello(HOST, "192.168.0.102", ("PIPELINING",)).written(True),
            ["250-dc.epost.test Hello [192.168.0.102], pleased to meet you", "250 PIPELINING"],
        )
        self.assertEqual(
            wording.startInput(NAME).written(True),
            ["354 Start mail input;id <B0000000186> end with <CRLF>.<CRLF>"],
        )

    def test_classes(self) -> None:
        """The class of an enhanced code is that of the reply (RFC 2034 4)."""
        for reply in [row[0] for row in TABLE] + [row[0] for row in CODES]:
            self.assertEqual(reply.enhanced[0], str(reply.code)[0], reply)
