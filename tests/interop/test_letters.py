"""The comparison that C{make interop} rests on finds what it is there to find."""

from twisted.trial.unittest import SynchronousTestCase

from tests.interop.letters import LETTERS, difference, letter, marked

TRACE = (
    b"Received: from desk (unverified [127.0.0.1]) by test.jp\r\n\t(E-POST) with ESMTP id <B1@test.jp>;\r\n\tnow\r\n"
)


class DifferenceTests(SynchronousTestCase):
    """L{difference} tells what became of a message on its way."""

    def test_same(self) -> None:
        """Trace fields above it and the line ends of a Maildir are no difference."""
        for kind in LETTERS:
            sent = letter("mark", kind)
            self.assertEqual(difference(sent, sent), "")
            self.assertEqual(difference(sent, b"Return-Path: <>\r\n" + TRACE + TRACE + sent), "")
            self.assertEqual(difference(sent, (TRACE + sent).replace(b"\r\n", b"\n")), "")
            self.assertEqual(difference(sent, sent, rewrites=True), "")

    def test_otherOctets(self) -> None:
        """A dot too many, a line too many at the end, a bit that was cut off: each is one, for a reader too."""
        dots, eight = letter("mark", "dots"), letter("mark", "8-bit")
        for sent, got in (
            (dots, dots.replace(b"\r\n.dot", b"\r\n..dot")),
            (dots, dots + b"\r\n"),
            (eight, bytes(octet & 127 for octet in eight)),
        ):
            self.assertIn("other octets", difference(sent, TRACE + got))
            self.assertIn("a reader sees", difference(sent, TRACE + got, rewrites=True))

    def test_cut(self) -> None:
        """What lost its begin or its end is not the same."""
        sent = letter("mark", "long lines")
        self.assertNotEqual(difference(sent, sent[1:]), "")
        self.assertNotEqual(difference(sent, sent[:-1]), "")

    def test_otherFields(self) -> None:
        """Only trace fields may be added."""
        sent = letter("mark", "dots")
        self.assertIn("more than trace fields", difference(sent, b"X-Seen: yes\r\n" + TRACE + sent))

    def test_marked(self) -> None:
        """A message is found by its whole subject, in a notice that quotes it too."""
        sent = letter("swaks size", "dots")
        self.assertTrue(marked(sent, "swaks size"))
        self.assertTrue(marked(b"Subject: Delivery failure\n\n" + sent.replace(b"\r\n", b"\n"), "swaks size"))
        self.assertFalse(marked(sent, "swaks"))
