"""Tests of L{epost.login.schemes}: what proves a password."""

import base64
import hashlib

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from epost.login import schemes
from epost.login.schemes import SchemeError, ScramKeys, Scrypt, form, made, octets, prepared, read

SALT = base64.b64encode(b"s" * 16).decode()
HASH = base64.b64encode(b"h" * 32).decode()


def cheap(password: bytes = b"pass1234") -> str:
    """A scrypt column that costs next to nothing."""
    digest = hashlib.scrypt(password, salt=b"s" * 16, n=2, r=1, p=1, dklen=32)
    return f"{{SCRYPT}}ln=1,r=1,p=1${SALT}${base64.b64encode(digest).decode()}"


class PreparedTests(SynchronousTestCase):
    """SASLprep (RFC 4013)."""

    def test_examples(self) -> None:
        """The examples of RFC 4013 3."""
        self.assertEqual(prepared("I\u00adX"), "IX")
        self.assertEqual(prepared("user"), "user")
        self.assertEqual(prepared("USER"), "USER")
        self.assertEqual(prepared("\u00aa"), "a")
        self.assertEqual(prepared("\u2168"), "IX")
        for text in ("\u0007", "\u0627\u0031"):
            self.assertRaises(SchemeError, prepared, text)

    def test_japanese(self) -> None:
        """What an input method writes in full width or half width is one password; an emoji is none the less one."""
        self.assertEqual(prepared("ｐａｓｓ１２３４"), "pass1234")
        self.assertEqual(prepared("ﾊﾟｽﾜｰﾄﾞ\u3000１"), "パスワード 1")
        self.assertEqual(prepared("🍣"), "🍣")

    def test_untypable(self) -> None:
        """Nothing, control characters and private characters are no password."""
        for text in ("", "\u00ad", "a\0", "a\r\n", "a\t", "\x7f", "\ue000", "\udcff", "\u202e", "\ufffd"):
            self.assertRaises(SchemeError, prepared, text)

    def test_directions(self) -> None:
        """Letters that are written from the right are not mixed with others (RFC 3454 6)."""
        self.assertEqual(prepared("\u0627\u0031\u0628"), "\u0627\u0031\u0628")
        self.assertRaises(SchemeError, prepared, "\u0627a\u0628")

    def test_form(self) -> None:
        """What an old table or another program has and SASLprep forbids is at least composed."""
        self.assertEqual(form("ｐａｓｓ"), "pass")
        self.assertEqual(form("\u0627e\u0301\ue000"), "\u0627\xe9\ue000")
        self.assertEqual(form("a\0"), "a\0")
        self.assertEqual(octets("\udcff"), b"\xff")


class ReadTests(SynchronousTestCase):
    """The column Pass."""

    def test_clear(self) -> None:
        """A password of E-Post's export stands in clear, whatever it looks like but a scheme."""
        for text in ("pass1234", "a{SCRYPT}b", "{", "{}x", "{a b}", "$argon2id$x"):
            self.assertEqual(read(text).clear, text)
        self.assertTrue(read("pass1234").verify(b"pass1234"))
        self.assertFalse(read("pass1234").verify(b"pass123"))

    def test_toItsLastLetter(self) -> None:
        """Behind {CLEAR} stands the password, blanks and braces included."""
        self.assertEqual(read("{clear}{my} pass {SCRYPT}").clear, "{my} pass {SCRYPT}")

    def test_severalSideBySide(self) -> None:
        """Hash, keys and clear text stand side by side; the hash decides."""
        keys = schemes.scramKeys(b"other", b"salt" * 4, 4096)
        secret = read(f"{cheap()} {keys} {{CLEAR}}third one")
        self.assertEqual((secret.scram, secret.clear), (keys, "third one"))
        self.assertIsInstance(secret.hash, Scrypt)
        self.assertTrue(secret.verify(b"pass1234"))
        self.assertFalse(secret.verify(b"other"))

    def test_keysAlone(self) -> None:
        """Keys of SCRAM are enough to check a password in clear."""
        secret = read(str(schemes.scramKeys(b"pass1234", b"salt" * 4, 4096)))
        self.assertTrue(secret.verify(b"pass1234"))
        self.assertFalse(secret.verify(b"pass1235"))

    def test_withoutPadding(self) -> None:
        """Base64 may come without its = signs, as other servers write it."""
        self.assertTrue(read(cheap().replace("=$", "$").rstrip("=")).verify(b"pass1234"))

    def test_refused(self) -> None:
        """What cannot be used is told, and no word of it is repeated."""
        for text, why in {
            "": "no password",
            "{CLEAR}": "no password",
            "{SECRET}value": "the scheme is unknown",
            f"{cheap()} secretvalue": "without its scheme",
            f"{cheap()} {cheap()}": "another of its kind",
            "{SCRYPT}secretvalue": "another form",
            f"{{SCRYPT}}ln=1,r=1,p=1$!secret!${HASH}": "no base64",
            f"{{SCRYPT}}ln=1,r=1,p=1${SALT}$c2Vj": "3 octets",
            "{SCRAM-SHA-256}secretvalue": "another form",
            f"{{SCRAM-SHA-256}}4096${SALT}${HASH}${base64.b64encode(b'secretvalue' * 3).decode()}": "another length",
            "{ARGON2ID}secretvalue": "another form",
            "{ARGON2ID}$argon2i$v=19$m=65536,t=3,p=4$c2VjcmV0$c2VjcmV0c2VjcmV0c2VjcmV0": "another form",
        }.items():
            error = self.assertRaises(SchemeError, read, text)
            self.assertIn(why, str(error), text)
            for part in ("secret", "SECRET", "c2Vj"):
                self.assertNotIn(part, f"{error} {error.expected}")

    def test_absurdCosts(self) -> None:
        """What would take the machine's memory or minutes of its time is refused when it is read, and not run."""
        for ln, r, p in (
            (99, 8, 1),
            (30, 8, 1),
            (20, 8, 1),
            (14, 8, 999999),
            (1, 999999, 9),
            (0, 8, 1),
            (14, 0, 1),
            (17, 1, 1),
            (16, 1, 1),
        ):
            error = self.assertRaises(SchemeError, read, f"{{SCRYPT}}ln={ln},r={r},p={p}${SALT}${HASH}")
            self.assertIn(f"ln={ln},r={r},p={p}", str(error))
        salt, hash = SALT.rstrip("="), HASH.rstrip("=")
        for m, t, p in ((4194304, 1, 1), (65536, 999, 1), (65536, 3, 99), (8, 1, 4), (0, 1, 1), (65536, 0, 1)):
            error = self.assertRaises(SchemeError, read, f"{{ARGON2ID}}$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}")
            self.assertIn(f"m={m},t={t},p={p}", str(error))
        for iterations in (1, 4095, 1000001, 999999999999):
            column = f"{{SCRAM-SHA-256}}{iterations}${SALT}${HASH}${HASH}"
            self.assertIn(str(iterations), str(self.assertRaises(SchemeError, read, column)))

    def test_whatOthersUse(self) -> None:
        """The costs that RFC 9106, OWASP and other servers recommend are within the bounds."""
        for ln, p in ((17, 1), (16, 2), (15, 3), (14, 5)):
            read(f"{{SCRYPT}}ln={ln},r=8,p={p}${SALT}${HASH}")
        schemes.read(f"{{SCRAM-SHA-256}}4096${SALT}${HASH}${HASH}")

    def test_noSecretInARepr(self) -> None:
        """What was read can be printed by mistake and tells nothing."""
        self.assertNotIn("pass1234", repr(read("pass1234")))
        self.assertNotIn(HASH[:10], repr(read(f"{{SCRYPT}}ln=1,r=1,p=1${SALT}${HASH}")))


class MadeTests(SynchronousTestCase):
    """What is written for a new password."""

    def setUp(self) -> None:
        """Without argon2, and cheap."""
        self.patch(schemes, "_argon2", None)
        self.patch(schemes, "SCRYPT", {"ln": 2, "r": 1, "p": 1})
        self.patch(schemes, "ITERATIONS", 4096)

    def test_both(self) -> None:
        """A hash and keys of SCRAM, each with a salt of its own, and both prove the password in any form of writing."""
        column, other = made("ｐａｓｓ1234"), made("ｐａｓｓ1234")
        secret = read(column)
        self.assertTrue(set(column.split()).isdisjoint(other.split()))
        assert secret.hash is not None and secret.scram is not None
        self.assertTrue(secret.hash.verify(b"pass1234"))
        self.assertTrue(secret.scram.verify(b"pass1234"))
        self.assertIsNone(secret.clear)
        self.assertNotIn("\t", column)

    def test_withoutKeys(self) -> None:
        """On demand there are no keys, whose password is found sooner by who has stolen the table."""
        self.assertIsNone(read(made("pass1234", scram=False)).scram)

    def test_recoverable(self) -> None:
        """On demand it can be had back, also one that looks like a scheme; never one that a column would cut."""
        for password in ("{SCRYPT}x", "pass word", "{", "夏\u3000休み", "a\xa0b"):
            secret = read(made(password, recoverable=True))
            self.assertEqual(secret.clear, password)
            self.assertTrue(secret.verify(octets(password)))
        for sign in " \u3000\xa0":
            self.assertRaises(SchemeError, made, f"{sign}pass1234", recoverable=True)
            self.assertRaises(SchemeError, made, f"pass1234{sign}", recoverable=True)
        for sign in map(chr, (*range(32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xD800, 0xDC80, 0xDFFF)):
            self.assertRaises(SchemeError, made, f"pass{sign}1234", recoverable=True)

    def test_refused(self) -> None:
        """No password, one that nobody can type, and one of a megabyte."""
        for password in ("", "a\tb", "a\nb", "x" * 1025):
            self.assertRaises(SchemeError, made, password)

    def test_costs(self) -> None:
        """What is made by default can be read: its costs are within the bounds."""
        self.patch(schemes, "SCRYPT", {"ln": 15, "r": 8, "p": 1})
        self.patch(schemes, "ITERATIONS", 60000)
        secret = read(made("pass1234"))
        self.assertTrue(secret.verify(b"pass1234"))
        self.assertFalse(secret.verify(b"pass1235"))
        self.assertEqual(type(schemes.dummy().hash), type(secret.hash))

    def test_keysOfRfc7677(self) -> None:
        """The keys are those of the example in RFC 7677 3: its server's signature can be made with them."""
        keys = schemes.scramKeys(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
        self.assertEqual(
            str(keys),
            "{SCRAM-SHA-256}4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
            "$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        )
        self.assertIsInstance(keys, ScramKeys)


class Argon2Tests(SynchronousTestCase):
    """argon2id, where argon2-cffi is installed."""

    def test_missing(self) -> None:
        """Where it is not installed a hash of it is refused, with what to install."""
        self.patch(schemes, "_argon2", None)
        column = "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=4$" + SALT.rstrip("=") + "$" + HASH.rstrip("=")
        error = self.assertRaises(SchemeError, read, column)
        self.assertIn("argon2-cffi is not installed", str(error))

    def test_installed(self) -> None:
        """Where it is installed it is what is made, and what it made proves the password and no other."""
        if schemes._argon2 is None:
            raise SkipTest("argon2-cffi is not installed: pip install -e '.[argon2]'")
        self.patch(schemes, "ITERATIONS", 4096)
        column = made("pass1234")
        self.assertTrue(column.startswith("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$"))
        secret = read(column)
        self.assertTrue(secret.verify(b"pass1234"))
        self.assertFalse(secret.verify(b"pass1235"))
        self.assertFalse(schemes.dummy().verify(b"pass1234"))
        read("{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=4$" + SALT.rstrip("=") + "$" + HASH.rstrip("="))
