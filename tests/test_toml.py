"""Tests of L{epost.toml}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.mail.fault import Fault
from epost.toml import keyLines, oneOf, parsed

TEXT = '''# comment
["Baito@test.jp"]
outside = false
reply = { text = "a" }   # [no.header]

  [ 'user1@test.jp' . reply ]
  text = """
outside = true
["bucho@test.jp"]
"""
  "subject" = \'\'\'one line\'\'\'
["user1@test.jp"]
keep = true
'''


class KeyLinesTests(SynchronousTestCase):
    """tomllib knows no lines; they are found all the same."""

    def test_tables(self) -> None:
        """Of tables, of keys however they are written, of tables within; what stands within a text is none."""
        self.assertEqual(
            keyLines(TEXT),
            {
                ("Baito@test.jp",): 2,
                ("Baito@test.jp", "outside"): 3,
                ("Baito@test.jp", "reply"): 4,
                ("user1@test.jp",): 6,
                ("user1@test.jp", "reply"): 6,
                ("user1@test.jp", "reply", "text"): 7,
                ("user1@test.jp", "reply", "subject"): 11,
                ("user1@test.jp", "keep"): 13,
            },
        )

    def test_sections(self) -> None:
        """Sections, sections of sections, dotted, quoted and indented keys; what stands in a list is none."""
        text = (
            'a.b = 1\n[server] # x\n name = 1\n"folder" = 2\n[retry.domains]\n\'x.jp\' = "1d"\nlist = [\n "c = 3",\n]\n'
        )
        self.assertEqual(
            keyLines(text),
            {
                ("a",): 1,
                ("a", "b"): 1,
                ("server",): 2,
                ("server", "name"): 3,
                ("server", "folder"): 4,
                ("retry",): 5,
                ("retry", "domains"): 5,
                ("retry", "domains", "x.jp"): 6,
                ("retry", "domains", "list"): 7,
            },
        )

    def test_dotted(self) -> None:
        """A dotted key makes tables by the way."""
        self.assertEqual(keyLines("\n'a@b'.reply.text=1")[("a@b", "reply")], 2)


class ParsedTests(SynchronousTestCase):
    """A text, or where it is none."""

    def test_line(self) -> None:
        """The fault is where tomllib stopped; at the end of the text it is its last line."""
        self.assertEqual(parsed("x.toml", "a = 1\n"), {"a": 1})
        for text, line in (("a = 1\nb = \nc = 3\n", 2), ("a = 1\nb = [1,\n\n", 2)):
            fault = parsed("x.toml", text)
            assert isinstance(fault, Fault)
            self.assertEqual((fault.file, fault.line, fault.expected), ("x.toml", line, "TOML"))

    def test_endless(self) -> None:
        """A number or a nest that Python itself refuses is a fault of its line, as any other."""
        for value in ("9" * 5000, "0x" + "f" * 5000, "[" * 3000, "{a=" * 3000):
            found = parsed("a.toml", f"x = 1\ny = {value}\n")
            self.assertIn("a.toml:2: a value that is too long, or nested", str(found)[:60])


class OneOfTests(SynchronousTestCase):
    """What a wrong name may mean."""

    def test_near(self) -> None:
        """A slip of the pen is put right; of a word that is like none there is no guess."""
        known = ("server", "limits", "spool")
        self.assertEqual(oneOf("limit", known), "limits perhaps, or one of server, limits, spool")
        self.assertEqual(oneOf("sever", known), "server perhaps, or one of server, limits, spool")
        for stranger in ("foo", "", "x"):
            self.assertEqual(oneOf(stranger, known), "one of server, limits, spool")
