"""Tests of L{epost.mail.address}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import Address, parseAddress


class ComposedTests(SynchronousTestCase):
    """How a character is composed makes no other address (RFC 6532 3.1)."""

    def test_key(self) -> None:
        """NFC and NFD, in any case, are one address; each goes on as it was written."""
        for composed, decomposed in (("jos\u00e9", "JOSE\u0301"), ("が", "か\u3099"), ("\u01f0", "J\u030c")):
            one, other = parseAddress(f"{composed}@test.jp"), parseAddress(f"{decomposed}@TEST.jp")
            self.assertEqual((one, one.key), (other, other.key), ascii(composed))
            self.assertEqual(str(other), f"{decomposed}@TEST.jp")
        self.assertNotEqual(parseAddress("jose@test.jp"), parseAddress("jos\u00e9@test.jp"))
        self.assertNotEqual(parseAddress("ａ@test.jp"), parseAddress("a@test.jp"))

    def test_parts(self) -> None:
        """Of an address that is made of its parts the same holds."""
        self.assertEqual(Address("e\u0301@a", "e\u0301", "a").local, "\u00e9")
