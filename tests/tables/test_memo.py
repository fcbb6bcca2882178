"""Tests of L{epost.tables.memo}."""

from twisted.trial.unittest import SynchronousTestCase

from epost.tables.directory import Directory, Ground
from epost.tables.memo import MOST, Memo


class MemoTests(SynchronousTestCase):
    """L{Memo}."""

    def setUp(self) -> None:
        """A question that remembers who asked."""
        self.there = Directory(Ground("x.toml", "mx.test.jp"))
        self.asked: list[tuple[Directory, str]] = []
        self.memo = Memo(lambda: self.there, self.find)

    def find(self, directory: Directory, text: str) -> str:
        """The answer."""
        self.asked.append((directory, text))
        return text.lower()

    def test_once(self) -> None:
        """Each question is answered once."""
        self.assertEqual([self.memo(text, text) for text in ("A", "B", "A")], ["a", "b", "a"])
        self.assertEqual([text for _, text in self.asked], ["A", "B"])

    def test_reload(self) -> None:
        """Other tables, another answer."""
        self.memo("A", "A")
        before, self.there = self.there, Directory(Ground("x.toml", "mx.test.jp"))
        self.memo("A", "A")
        self.assertEqual([directory for directory, _ in self.asked], [before, self.there])
        self.assertIs(self.asked[1][0], self.there)

    def test_many(self) -> None:
        """However many are asked, no more are kept."""
        for number in range(MOST * 3):
            self.memo(number, str(number))
            self.assertLessEqual(len(self.memo._found), MOST)
        self.assertEqual(len(self.asked), MOST * 3)

    def test_fault(self) -> None:
        """What could not be found is asked again."""
        broken = Memo(lambda: self.there, lambda directory, number: 1 // number)
        self.assertRaises(ZeroDivisionError, broken, "x", 0)
        self.assertEqual(broken("x", 1), 1)
