"""What a list writes into a message and takes out of it; whether a copy goes round."""

from email import message_from_bytes
from email.header import decode_header, make_header

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.address import parseAddress
from epost.mail.autoreply import HEADER_OCTETS, Letter
from epost.mail.copy import Copy
from epost.mail.envelope import Envelope
from epost.mail.listing import Cleaning, fields, identifier

STAFF, KEEPER = parseAddress("Staff@test.jp"), parseAddress("Staff-owner@test.jp")
HEADER = (
    b"Received: x\r\nList-Id: <Other.example>\r\nSubject: a\r\nLIST-UNSUBSCRIBE:\r\n <mailto:e@x.example>\r\n\t,b\r\n"
    b"X-List-Id: kept\r\nPrecedence: bulk\r\nListing: kept\r\n"
)
CLEAN = b"Received: x\r\nSubject: a\r\nX-List-Id: kept\r\nListing: kept\r\n"


class FieldsTests(SynchronousTestCase):
    """L{fields}."""

    def test_fields(self) -> None:
        """Id, addresses and Precedence; whose list only the owner writes to says so."""
        self.assertEqual(
            fields(STAFF, "Staff", KEEPER, True),
            b'List-Id: "Staff"\r\n <staff.test.jp>\r\n'
            b"List-Post: <mailto:Staff@test.jp>\r\n"
            b"List-Unsubscribe: <mailto:Staff-owner@test.jp?subject=unsubscribe>\r\n"
            b"List-Owner: <mailto:Staff-owner@test.jp>\r\n"
            b"Precedence: list\r\n",
        )
        self.assertIn(b"\r\nList-Post: NO\r\n", fields(STAFF, "Staff", KEEPER, False))

    def test_names(self) -> None:
        """Any name comes out again, and adds no field."""
        for name in ("営業部の皆さん" * 10, 'a "b" \\ c', "a" * 200, "x <y@z>"):
            written = fields(STAFF, name, KEEPER, True)
            self.assertTrue(written.isascii())
            self.assertLess(max(map(len, written.split(b"\r\n"))), 79 if " " in name or not name.isascii() else 999)
            message = message_from_bytes(written + b"\r\n")
            self.assertEqual(len(message), 5, written)
            value = message["List-Id"].replace("\r\n", "")
            self.assertTrue(value.endswith(" <staff.test.jp>"))
            shown = str(make_header(decode_header(value.rpartition(" <")[0].strip())))
            self.assertEqual(shown.strip('"').replace(" ", ""), name.replace(" ", ""))

    def test_oddAddresses(self) -> None:
        """An address in a URI is escaped; two lists have two identifiers."""
        odd = parseAddress('"a b?c"@test.jp')
        self.assertIn(b"<mailto:%22a%20b%3Fc%22@test.jp>", fields(odd, "x", KEEPER, True))
        self.assertEqual(identifier(odd), "a%20b?c.test.jp")
        self.assertNotEqual(identifier(parseAddress("営業@test.jp")), identifier(parseAddress("総務@test.jp")))


class CleaningTests(SynchronousTestCase):
    """L{Cleaning} takes fields of lists out of a header and nothing else."""

    def cleaned(self, content: bytes, size: int) -> bytes:
        """In parts of so many octets."""
        cleaning = Cleaning()
        parts = [cleaning.feed(content[place : place + size]) for place in range(0, len(content), size)]
        return b"".join(parts) + cleaning.finish()

    def test_cleaned(self) -> None:
        """In every chunking, with and without a body."""
        body = b"\r\nList-Id: of the body\r\n\r\nPrecedence: x\r\n"
        for size in range(1, len(HEADER) + 3):
            self.assertEqual(self.cleaned(HEADER + body, size), CLEAN + body)
            self.assertEqual(self.cleaned(HEADER, size), CLEAN)
            self.assertEqual(self.cleaned(body, size), body)

    def test_long(self) -> None:
        """However long the header is, and in whatever parts it comes; nearly nothing of it is kept meanwhile."""
        more = b"X: y\r\n" * (HEADER_OCTETS // 3)
        for size in (7, 4096, HEADER_OCTETS, 10 * HEADER_OCTETS):
            cleaned = self.cleaned(HEADER + more + HEADER + b"\r\n" + HEADER, size)
            self.assertEqual(cleaned, CLEAN + more + CLEAN + b"\r\n" + HEADER)
        cleaning = Cleaning()
        for name, expected in ((b"X: y", b"X: y" * 50000), (b"List-", b"")):
            stored = b"".join(cleaning.feed(name) for _ in range(50000))
            self.assertEqual(cleaning.finish(), b"")
            self.assertEqual(stored + cleaning.feed(b"\r\n"), expected and expected + b"\r\n")

    def test_longName(self) -> None:
        """A name that is longer than a line may be hides none, and is not kept."""
        for field in (b"List-" + b"x" * 2000, b"Precedence" + b" " * 2000):
            for size in (1, 100, 5000):
                self.assertEqual(self.cleaned(b"A: b\r\n" + field + b": c\r\n d\r\n\r\n", size), b"A: b\r\n\r\n")

    def test_noField(self) -> None:
        """Lines that are none are kept, and hide none that come behind them; one that breaks off is kept too."""
        for size in range(1, 40):
            kept = b"list-en are long\r\nPrecedence\r\n"
            self.assertEqual(self.cleaned(kept + b"List-Id: <x>\r\n y\r\n\r\n", size), kept + b"\r\n")
            self.assertEqual(self.cleaned(b"A: b\nList-Id: x\n y\n\nList-Id: z\n", size), b"A: b\n\nList-Id: z\n")
            self.assertEqual(self.cleaned(b"A: b\r\nList-Id", size), b"A: b\r\nList-Id")


class CopyTests(SynchronousTestCase):
    """L{Copy} knows whether it was made before."""

    def circles(self, header: bytes, **given: object) -> bool:
        """Whether a message with a header goes round."""
        envelope = Envelope(None, (STAFF,))
        return Copy(envelope, b"x", **given).circles(Letter(header + b"\r\n"))  # type: ignore[arg-type]

    def test_list(self) -> None:
        """The list's own identifier, or an automatic reply."""
        for header, expected in (
            (b"List-Id: a <STAFF.test.jp>\r\n", True),
            (b"List-Id: <staff.test.jp.example>\r\n", False),
            (b"List-Id: <xstaff.test.jp>\r\n", False),
            (b"auto-submitted: Auto-Replied; owner-email=x\r\n", True),
            (b"Auto-Submitted: auto-generated\r\n", False),
            (b"Auto-Submitted: no\r\n", False),
            (b"Delivered-To: staff@test.jp\r\n", False),
        ):
            self.assertEqual(self.circles(header, list="staff.test.jp"), expected, header)

    def test_by(self) -> None:
        """Delivered-To the address that sends it on."""
        for header, expected in (
            (b"Delivered-To: staff@TEST.jp\r\n", True),
            (b"Delivered-To: x@test.jp\r\nDelivered-To: <Staff@test.jp> \r\n", True),
            (b"Delivered-To: x@test.jp\r\n", False),
            (b"Delivered-To: nonsense\r\n", False),
            (b"List-Id: <staff.test.jp>\r\nAuto-Submitted: auto-replied\r\n", False),
        ):
            self.assertEqual(self.circles(header, by=STAFF), expected, header)
        self.assertFalse(self.circles(b"Delivered-To: staff@test.jp\r\n"))
