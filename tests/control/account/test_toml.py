"""Tests of L{epost.control.account.toml}: accounts.toml, changed line by line."""

import tomllib
from datetime import date
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from epost.control.account.toml import DetailsFile, literal
from epost.control.terminal import Failure
from epost.mail.address import parseAddress

USER = parseAddress("user1@test.jp")
OTHER = parseAddress("user2@test.jp")

TEXT = """# first line

["user1@test.jp"]          # 山田
outside = false            # inside "only" # really
# about networks
networks = ["10.0.0.0/8"]
senders = [
    "a@test.jp",           # one
    "user1@test.jp",
]

  [ 'user2@test.jp' ]
reply = { text = "# no comment", from = 2026-12-24 }
forward = ["me@home.example"]
# last line
"""


class DetailsFileTests(SynchronousTestCase):
    """Comments and order stay; what cannot be changed is left alone."""

    def put(self, text: str, key: str, value: Any, user: str = "user1@test.jp") -> str:
        """A text with a key that has another value."""
        table = DetailsFile("accounts.toml", text.encode())
        table.put(parseAddress(user), key, value)
        return table.octets().decode()

    def test_replace(self) -> None:
        """A value in one line; the comment behind it stays."""
        self.assertEqual(self.put(TEXT, "outside", True), TEXT.replace("outside = false", "outside = true"))
        expected = TEXT.replace('{ text = "# no comment", from = 2026-12-24 }', '{ text = "x" }')
        self.assertEqual(self.put(TEXT, "reply", {"text": "x"}, "USER2@test.jp"), expected)

    def test_add(self) -> None:
        """A new key stands behind the last of its table; a table that is missing is made at the end."""
        self.assertEqual(self.put(TEXT, "disabled", True), TEXT.replace("\n]\n", "\n]\ndisabled = true\n"))
        self.assertEqual(self.put(TEXT, "keep", True, "user3@test.jp"), TEXT + '\n["user3@test.jp"]\nkeep = true\n')
        self.assertEqual(self.put("", "keep", True), '["user1@test.jp"]\nkeep = true\n')
        self.assertEqual(self.put('["user1@test.jp"]', "keep", True), '["user1@test.jp"]\nkeep = true\n')
        self.assertEqual(self.put("# x", "keep", True), '# x\n\n["user1@test.jp"]\nkeep = true\n')

    def test_takeOut(self) -> None:
        """A key that goes takes its line along; one that is not there is no matter."""
        self.assertEqual(self.put(TEXT, "networks", None), TEXT.replace('networks = ["10.0.0.0/8"]\n', ""))
        self.assertEqual(self.put(TEXT, "keep", None), TEXT)
        self.assertEqual(self.put(TEXT, "keep", None, "user3@test.jp"), TEXT)

    def test_severalLines(self) -> None:
        """A value that spans several lines is not changed; it is told where it stands."""
        for value in (["b@test.jp"], None):
            error = self.assertRaises(Failure, self.put, TEXT, "senders", value)
            self.assertEqual(
                str(error), "accounts.toml:7: senders of user1@test.jp spans several lines: change it with an editor"
            )

    def test_otherForms(self) -> None:
        """What TOML allows besides is left to an editor, and never becomes something else."""
        for text in (
            '["user1@test.jp"]\nreply.text = "x"\n',
            '["user1@test.jp".reply]\ntext = "x"\n',
            '["user1@test.jp"]\n["user1@test.jp".reply]\ntext = "x"\n',
            '"user1@test.jp" = { reply = { text = "x" } }\n',
        ):
            for value in ({"text": "y"}, None):
                self.assertRaises(Failure, self.put, text, "reply", value)

    def test_looksLikeIt(self) -> None:
        """A text of several lines in which something looks like a header or a key."""
        text = (
            '["user2@test.jp"]\nreply = { text = """\n["user1@test.jp"]\noutside = false\n""" }\n\n["user1@test.jp"]\n'
        )
        self.assertEqual(self.put(text, "outside", True), text + "outside = true\n")

    def test_underATableOfItsOwn(self) -> None:
        """A new key gets into the account's own table, not into one within it."""
        text = '["user1@test.jp"]\n["user1@test.jp".reply]\ntext = "x"\n'
        self.assertEqual(self.put(text, "keep", True), text.replace(']\n["', ']\nkeep = true\n["'))

    def test_lineEnds(self) -> None:
        """CRLF, a BOM and Shift_JIS stay."""
        for text in (TEXT, TEXT.replace("\n", "\r\n")):
            for encoding in ("utf-8", "utf-8-sig", "cp932"):
                table = DetailsFile("accounts.toml", text.encode(encoding))
                table.put(USER, "outside", True)
                self.assertEqual(table.octets(), text.replace("= false", "= true").encode(encoding))
        table.put(USER, "reply", {"text": "é"})
        self.assertRaises(Failure, table.octets)

    def test_remove(self) -> None:
        """A table goes with what is in it, and tables within it; what stands between tables stays."""
        table = DetailsFile("accounts.toml", TEXT.encode())
        table.remove(USER)
        self.assertEqual(table.octets().decode(), "# first line\n" + TEXT[TEXT.index("\n  [ '") :])
        table.remove(OTHER)
        self.assertEqual(table.octets(), b"# first line\n\n# last line\n")
        table.remove(OTHER)

    def test_rename(self) -> None:
        """Another name where it stands; or a second table behind it, until the first goes."""
        user3 = parseAddress("user3@test.jp")
        table = DetailsFile("accounts.toml", TEXT.encode())
        table.rename(OTHER, user3)
        self.assertEqual(table.octets().decode(), TEXT.replace("  [ 'user2@test.jp' ]", '["user3@test.jp"]'))
        table = DetailsFile("accounts.toml", TEXT.encode())
        table.double(OTHER, user3)
        tree = tomllib.loads(table.octets().decode())
        self.assertEqual(tree["user3@test.jp"], tree["user2@test.jp"])
        self.assertTrue(table.octets().decode().endswith("# last line\n"))

    def test_noToml(self) -> None:
        """What is no TOML is told."""
        self.assertRaises(Failure, DetailsFile, "accounts.toml", b"[x\n")
        self.assertRaises(Failure, DetailsFile, "accounts.toml", b"\x81\x20")

    @given(
        st.recursive(
            st.booleans()
            | st.integers(-(2**60), 2**60)
            | st.text(st.characters(exclude_categories=["Cs"]))
            | st.dates(),
            lambda inside: st.lists(inside) | st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), inside),
            max_leaves=8,
        )
    )
    def test_anyValue(self, value: Any) -> None:
        """Whatever is written is what tomllib reads, in one line."""
        self.assertEqual(tomllib.loads(f"x = {literal(value)}"), {"x": value})
        self.assertNotIn("\n", literal(value))

    def test_dates(self) -> None:
        """A day stands without quotes."""
        self.assertEqual(literal({"from": date(2026, 12, 24)}), "{ from = 2026-12-24 }")
