"""The tools of the system tests tell the truth: what the sink keeps is what was sent, and it answers as it is told."""

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.system.conversation import Conversation, submit
from tests.system.sink import END, Sink, Taken

A, B = "a@example.com", "b@example.org"


class SinkTests(SynchronousTestCase):
    """L{Sink}, spoken to by L{Conversation}."""

    def setUp(self) -> None:
        self.sink = self.enterContext(Sink())

    def test_octetForOctet(self) -> None:
        """Dots, bare line ends, NUL and high octets arrive as they were sent."""
        content = b".begin\r\n..\r\n.\r\nbare\n.\n\r.\r\x00\xff\r\n.end\r\n"
        self.assertEqual(submit(self.sink.port, A, [B], content), "250 ok")
        self.assertEqual(self.sink.wait(1), [Taken(A, (B,), content, "test")])

    def test_onlyTheRightEnd(self) -> None:
        """A dot between bare line feeds does not end the content."""
        with Conversation(self.sink.port) as client:
            client.send(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nDATA\r\na\n.\r\nb\r\n.\r\n")
            self.assertEqual([client.reply()[:3] for _ in range(5)], ["250", "250", "250", "354", "250"])
        self.assertEqual(self.sink.messages[0].content, b"a\n.\r\nb\r\n")

    def test_refusals(self) -> None:
        """What it was told to refuse it refuses, and keeps nothing of it."""
        self.sink.answer = lambda command: "450 later" if command == f"RCPT TO:<{B}>" else None
        self.assertEqual(submit(self.sink.port, A, [B], b"x\r\n"), "450 later")
        self.sink.answer = lambda command: "451 disk" if command == END else None
        self.assertEqual(submit(self.sink.port, A, [B], b"x\r\n"), "451 disk")
        self.assertEqual(self.sink.messages, [])

    def test_hangsUp(self) -> None:
        """An empty answer closes the connection."""
        self.sink.answer = lambda command: "" if command == END else None
        with self.assertRaises(ConnectionError):
            submit(self.sink.port, A, [B], b"x\r\n")

    def test_waits(self) -> None:
        """Waiting for what does not come ends, and says so."""
        begun = time.monotonic()
        with self.assertRaisesRegex(AssertionError, "0 of 1 messages"):
            self.sink.wait(1, seconds=0.1)
        self.assertLess(time.monotonic() - begun, 5)

    def test_transcript(self) -> None:
        """The client notes what was said on both sides, in order."""
        with Conversation(self.sink.port) as client:
            client.say("EHLO x")
            client.mail(A, [B], b"x\r\n", blank=" ")
        self.assertEqual(
            client.transcript,
            "S: 220 sink.example ESMTP|C: EHLO x|S: 250-sink.example|S: 250-PIPELINING|S: 250-8BITMIME|S: 250 SMTPUTF8"
            f"|C: MAIL FROM: <{A}>|S: 250 ok|C: RCPT TO: <{B}>|S: 250 ok|C: DATA|S: 354 go on"
            "|C: (3 octets of content)|C: .|S: 250 ok".split("|"),
        )
