"""
Which module may import which: reads every import in epost/ and fails with the line that breaks the rule.

Arrows point down and there are no circles. The protocol, the tables, the values and the configuration know nothing of
Twisted; storage and net know nothing of each other; only the two compositions know everything.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]

_VALUES = {"mail"}
_ROLES = {"interfaces", "mail"}
_READING = {"mail", "toml", "forms", "settings", "config", "tables"}
_BELOW = _ROLES | _READING | {"smtp", "storage", "net", "login", "matrix", "admission", "routes", "verify"}
_BELOW |= {"allowance", "expansion", "letters", "drafts", "intake", "loading", "reload"}
_BELOW |= {"returns", "dispatch", "agenda", "errand", "lanes"}

# The first part of a module's name below epost, and what it may import besides itself and the standard library.
MAY: dict[str, set[str]] = {
    "mail": set(),
    "toml": _VALUES,
    "forms": _VALUES,
    "settings": _VALUES | {"forms"},
    "config": _VALUES | {"toml", "forms", "settings"},
    "smtp": _VALUES,
    "tables": _VALUES | {"toml"},
    "interfaces": _VALUES,
    "storage": _ROLES,
    "net": _ROLES | {"smtp"},
    "matrix": _ROLES | {"smtp.wording", "tables"},
    "admission": _ROLES | {"smtp.wording", "tables", "matrix"},
    "routes": _ROLES | {"smtp.wording", "tables"},
    "verify": _ROLES | {"smtp.wording"},
    "allowance": _ROLES,
    "login": _ROLES | {"smtp.wording", "tables"},
    "expansion": _ROLES | {"smtp.wording", "tables", "routes"},
    "letters": _ROLES | {"allowance", "tables"},
    "drafts": _ROLES | {"smtp.wording"},
    "intake": _ROLES | {"smtp.wording", "drafts"},
    "returns": _ROLES,
    "agenda": _ROLES,
    "lanes": _ROLES,
    "errand": _ROLES,
    "dispatch": _ROLES | {"agenda", "errand", "lanes", "returns"},
    "loading": _READING,
    "reload": _READING | {"loading"},
    "daemon": _BELOW,
    "control": _BELOW,
    "commandline": _BELOW | {"daemon"},
    "backend": _BELOW | {"commandline"},
    "gateway": _BELOW | {"commandline"},
}

PURE = {"mail", "smtp", "tables", "toml", "forms", "settings", "config"}
OUTSIDE = {"twisted", "zope", "OpenSSL", "cryptography", "service_identity"}


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """
    Every module that a file imports, wherever in it, and the line.

    C{from a import b} gives C{a.b}: whether C{b} is a module is for the reader to tell.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def complaint(room: str, imported: str) -> str | None:
    """What is wrong with one import in one room; L{None} when it is right."""
    top, _, rest = imported.partition(".")
    if not top:
        return "imports are absolute"
    if top != "epost":
        if imported.startswith("twisted.mail"):
            return "twisted.mail is not used"
        if top in sys.stdlib_module_names or (top in OUTSIDE and room not in PURE):
            return None
        return f"{room} does not import {top}"
    there = rest.partition(".")[0]
    if there == room or there not in MAY:  # a name of epost itself, such as __version__
        return None
    if any(f"{rest}.".startswith(f"{allowed}.") for allowed in MAY[room]):
        return None
    return f"{room} does not import {there}"


def complaints(path: str, source: str) -> list[str]:
    """
    What a file does against the rule.

    @param path: relative to the root, such as C{epost/smtp/server.py}.
    @return: C{path:line: what is wrong}, one for each import.
    """
    room = Path(path).parts[1].removesuffix(".py")
    if room == "__init__":
        room = "mail"  # epost itself may import as little as the values
    if room not in MAY:
        return [f"{path}:1: {room} has no place in tests/test_layers.py"]
    tree = ast.parse(source)
    found = [f"{path}:{line}: {why}" for line, name in imports(tree) if (why := complaint(room, name))]
    atTop = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    reactors = [node.lineno for node in atTop if any(alias.name == "reactor" for alias in node.names)]
    return found + [f"{path}:{line}: the reactor is an argument, never a module's global" for line in reactors]


def sources() -> dict[str, str]:
    """Every Python file of the package, by its path relative to the root."""
    return {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in sorted(ROOT.glob("epost/**/*.py"))}


class LayerTests(SynchronousTestCase):
    """The import graph is the architecture."""

    def test_arrowsPointDown(self) -> None:
        """No module imports what stands above it or beside it."""
        files = sources()
        self.assertIn("epost/interfaces.py", files)
        self.assertEqual([line for path, source in files.items() for line in complaints(path, source)], [])

    def test_noCirclesBetweenRooms(self) -> None:
        """The rule itself allows no circle."""
        rooms = {room: {name.partition(".")[0] for name in allowed} for room, allowed in MAY.items()}
        self.assertEqual(set(graphlib.TopologicalSorter(rooms).static_order()), set(MAY))

    def test_noCirclesWithinARoom(self) -> None:
        """Modules of one room import each other in one direction."""
        files = sources()
        modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in files}
        graph = {
            module: {
                there
                for _, name in imports(ast.parse(files[path]))
                for there in (name, name.rpartition(".")[0])
                if there in modules and there != module
            }
            for module, path in modules.items()
        }
        self.assertEqual(set(graphlib.TopologicalSorter(graph).static_order()), set(modules))

    def test_noEmptyRooms(self) -> None:
        """Every room of the rule exists, so the rule cannot outlive what it is about."""
        rooms = {Path(path).parts[1].removesuffix(".py") for path in sources()}
        self.assertEqual(set(MAY) - rooms, set())

    def test_plugin(self) -> None:
        """The plug-in file imports nothing of the package, since every twistd command on the machine reads it."""
        tree = ast.parse((ROOT / "twisted/plugins/epost_plugins.py").read_text("utf-8"))
        self.assertEqual([name for _, name in imports(tree)], ["twisted.application.service.ServiceMaker"])


class ComplaintTests(SynchronousTestCase):
    """The test above can fail."""

    def assertComplaint(self, path: str, source: str, expected: str) -> None:
        """One file earns exactly one complaint."""
        self.assertEqual(complaints(path, source), [f"{path}:{expected}"])

    def test_twistedInThePureRooms(self) -> None:
        """The protocol core, the tables, the values and the configuration never see Twisted."""
        for room in ("mail/reply", "smtp/server", "tables/effect", "config"):
            self.assertComplaint(
                f"epost/{room}.py",
                "import re\nfrom twisted.internet import defer\n",
                f"2: {room.partition('/')[0]} does not import twisted",
            )

    def test_storageAndNetApart(self) -> None:
        """Storage and net know the roles, not each other."""
        self.assertComplaint("epost/net/receiver.py", "from epost import storage", "1: net does not import storage")
        self.assertComplaint("epost/storage/spool.py", "import epost.net.tls", "1: storage does not import net")

    def test_hiddenInAFunction(self) -> None:
        """An import inside a function counts as one at the top."""
        hidden = "def f():\n    from epost.storage.spool import Spool\n"
        self.assertComplaint("epost/dispatch.py", hidden, "2: dispatch does not import storage")

    def test_wordingAlone(self) -> None:
        """The decisions know what is said, not the protocol that says it."""
        self.assertEqual(complaints("epost/admission.py", "from epost.smtp import wording"), [])
        self.assertEqual(complaints("epost/admission.py", "from epost.smtp.wording import userUnknown"), [])
        self.assertComplaint(
            "epost/routes.py", "from epost.smtp.server import Session", "1: routes does not import smtp"
        )

    def test_upwards(self) -> None:
        """Nothing imports a composition."""
        self.assertComplaint("epost/net/receiver.py", "import epost.backend", "1: net does not import backend")

    def test_strangers(self) -> None:
        """Twisted's own SMTP, relative imports and packages that are no dependency are refused."""
        self.assertComplaint("epost/net/a.py", "from twisted.mail import smtp", "1: twisted.mail is not used")
        self.assertComplaint("epost/net/a.py", "from . import b", "1: imports are absolute")
        self.assertComplaint("epost/net/a.py", "import dns.resolver", "1: net does not import dns")

    def test_globalReactor(self) -> None:
        """The reactor is imported where a daemon starts, inside a function, never at the top of a module."""
        line = "from twisted.internet import reactor\n"
        self.assertComplaint("epost/net/a.py", line, "1: the reactor is an argument, never a module's global")
        self.assertEqual(complaints("epost/backend.py", f"def makeService(options):\n    {line}"), [])

    def test_newRoom(self) -> None:
        """A module that the rule does not know is a complaint, not a hole."""
        self.assertComplaint("epost/extra.py", "", "1: extra has no place in tests/test_layers.py")
