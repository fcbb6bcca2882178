"""
The pages tell the truth: what they name exists, what they quote is said, what they show can be used.

A page that is wrong is worse than none, and nobody notices by reading.
"""

import inspect
import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from epost import config
from epost.mail.address import Address
from epost.mail.fault import Fault
from epost.mail.name import numbered
from epost.mail.reply import Reply
from epost.smtp import wording
from epost.storage import durable
from epost.tables.building import build
from epost.tables.directory import Ground

ROOT = Path(__file__).parents[1]
GATE = "192.168.0.103"  # the gateway's machine in the pages
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted(ROOT.glob("docs/*.md"))]

# What stands in replies.md for the parameters of a wording.
SAMPLES = {
    "host": "HOST",
    "version": "VERSION",
    "build": "BUILD",
    "date": "DATE",
    "address": "IP",
    "path": Address("ADDRESS", "ADDRESS", ""),
    "name": numbered(186),
    "extended": True,
    "names": ("HELO", "…"),
    "first": "COMMAND",
}


def read(page: str) -> str:
    """A page's text."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[str]:
    """The indented blocks of a page, without their indent."""
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", read(page), re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


def samples() -> dict[str, Reply]:
    """Every wording, by the name of its function, with sample arguments."""
    functions = inspect.getmembers(
        wording, lambda thing: inspect.isfunction(thing) and thing.__module__ == wording.__name__
    )
    replies = {}
    for name, function in functions:
        if not name.startswith("_"):
            given = {p: SAMPLES[p] for p in inspect.signature(function).parameters if p in SAMPLES}
            replies[name] = function(**given)
    return replies


class PageTests(SynchronousTestCase):
    """What all pages have in common."""

    def test_linksLead(self) -> None:
        """Every link to a file of ours leads to one."""
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_everyPageIsInTheIndex(self) -> None:
        """The index names every page of docs/."""
        for page in ROOT.glob("docs/*.md"):
            self.assertIn(f"({page.name})", read("docs/index.md") + "(index.md)")

    def test_commandsExist(self) -> None:
        """Every make target that a page names exists."""
        targets = set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))
        named = {
            word for page in PAGES for word in re.findall(r"\bmake ([a-z]+)\b *(?:`|#|\n)", page.read_text("utf-8"))
        }
        self.assertLessEqual({"demo", "test", "run"}, named)
        self.assertEqual(named - targets, set())

    def test_settingsExist(self) -> None:
        """Every key that a page names behind its section, as in C{[relay] verify}, stands in settings.md."""
        settings = read("docs/settings.md")
        for page in PAGES:
            for section, key in re.findall(r"`\[(\w+)\] (\w+)", page.read_text("utf-8")):
                part = settings.partition(f"## [{section}]")[2].partition("\n## ")[0]
                self.assertIn(f"| `{key}` |", part, f"{page.name}: [{section}] {key}")


class SampleTests(SynchronousTestCase):
    """What a page shows can be used as it stands."""

    def test_configurations(self) -> None:
        """The configurations of install.md are complete and right."""
        found = [block for block in blocks("docs/install.md") if block.startswith("[server]")]
        self.assertEqual(len(found), 2)
        for kind, text in zip(("backend", "gateway"), found, strict=True):
            faults: list[Fault] = []
            config.parseSettings(f"{kind}.toml", text.encode(), kind, faults)
            self.assertEqual(faults, [])
        relay = tomllib.loads(found[0])["relay"]  # whose networks hold the gateway
        self.assertEqual((relay["gateway"], relay["gateways"]), (GATE, [GATE]))

    def test_recipes(self) -> None:
        """The tables and settings of the recipe, in rules.md and in the README, can be read."""
        for page in ("docs/rules.md", "README.md"):
            text = blocks(page)
            effect = next(block for block in text if "baito@test.jp false" in block)
            gateway = next(block for block in text if block.startswith("test.jp, "))
            relay = next(block for block in text if block.startswith("[relay]"))
            faults: list[Fault] = []
            tables = {"effect": ("effect.dat", effect.encode()), "gateway": ("gateway.dat", gateway.encode())}
            build(Ground("gateway.toml", "dc.epost.test"), tables, faults, [])
            self.assertEqual(faults, [], page)
            self.assertEqual(tomllib.loads(relay)["relay"], {"gateway": GATE, "gateways": [GATE]}, page)


class ReplyTests(SynchronousTestCase):
    """replies.md is the whole vocabulary."""

    def test_everyWording(self) -> None:
        """Each wording stands there to the letter, and nothing stands there that is not said."""
        said = {line for reply in samples().values() for line in reply.written(enhanced=True)}
        page = read("docs/replies.md").partition("## To senders")[0]
        self.assertEqual(set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)), said)

    def test_whatTheDiskSays(self) -> None:
        """The two replies that come from the disk stand there too."""
        for reply in (durable.FULL, durable.FAILED):
            self.assertIn(f"`{reply}`", read("docs/replies.md"))
