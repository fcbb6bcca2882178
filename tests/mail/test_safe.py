"""What comes from outside is made safe for a log."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.safe import safe


class SafeTests(SynchronousTestCase):
    """L{safe}."""

    def test_safe(self) -> None:
        """What cannot be printed is written as its octets; what can stays, Japanese too."""
        for text, written in (
            ("plain ~", "plain ~"),
            ("日本語", "日本語"),
            ("a\r\nb\t\0\x7f", "a\\x0d\\x0ab\\x09\\x00\\x7f"),
            (b"\x8b\xff".decode("utf-8", "surrogateescape"), "\\x8b\\xff"),
            ("\x9b\u2028", "\\xc2\\x9b\\xe2\\x80\\xa8"),
            ("a\u200bb\u200f\u2060\ufeff", "a\\xe2\\x80\\x8bb\\xe2\\x80\\x8f\\xe2\\x81\\xa0\\xef\\xbb\\xbf"),
            ("a\u202eb\u2066", "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6"),
        ):
            self.assertEqual(safe(text), written)

    def test_cut(self) -> None:
        """512 octets stay, and never half a character."""
        self.assertEqual(safe("x" * 512), "x" * 512)
        self.assertEqual(safe("x" * 513), "x" * 512 + "…")
        self.assertEqual(safe("日" * 170 + "xx"), "日" * 170 + "xx")
        self.assertEqual(safe("日" * 171), "日" * 170 + "…")
        self.assertEqual(safe("\n" * 600), "\\x0a" * 512 + "…")
        # What looks like the inside of a character may cost four octets more.
        self.assertEqual(safe("x" + "\udc8b" * 600), "x" + "\\x8b" * 507 + "…")
