"""
Installed in any of three ways, twistd knows the two commands; and what is published is complete.

Each test works on a copy of the checkout in a temporary folder, with environments of its own beside it, so that neither
the tree nor the environment that runs the tests is touched. Nothing is fetched: the environments borrow Twisted and
setuptools from the one that runs the tests.
"""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
COMMANDS = ["epost-backend", "epost-gateway"]
PUBLISHED = ["setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGES.md", "LICENSE", "Makefile"]
PUBLISHED += [".ci", "bench", "docs", "epost", "etc", "tests", "twisted"]
LEFTOVERS = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")


class PackagingTests(SynchronousTestCase):
    """What a package holds and what twistd makes of it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.source = self.folder / "source"
        self.source.mkdir(parents=True)
        for name in PUBLISHED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.source / name, ignore=LEFTOVERS)
            elif (ROOT / name).exists():
                shutil.copy(ROOT / name, self.source)

    def run_(self, *command: str | Path, path: str | None = None) -> str:
        """
        What a command says, run in the copy.

        @param path: PYTHONPATH; none is inherited.
        """
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder)} | ({"PYTHONPATH": path} if path else {})
        done = subprocess.run(
            command, cwd=self.source, env=environment, capture_output=True, encoding="utf-8", timeout=120
        )
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")
        return done.stdout

    def environment(self, name: str) -> Path:
        """
        A new environment without epost, that sees Twisted and setuptools of this one.

        @return: its interpreter.
        """
        home = self.folder / name
        self.run_(sys.executable, "-m", "venv", "--without-pip", home)
        python = home / "bin" / "python"
        (site,) = home.glob("lib/python*/site-packages")
        # A path from a .pth file comes last, and .pth files found there are not read: an editable epost stays unseen.
        (site / "zzz-borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.assertEqual(self.commands(python), [], f"epost stands in {sysconfig.get_path('purelib')} as a copy")
        return python

    def pip(self, python: Path, *what: str | Path) -> None:
        """Install into an environment, without a network."""
        pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
        self.run_(*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", *what)

    def commands(self, python: Path, path: str | None = None) -> list[str]:
        """Our commands in the help of twistd, as the script that pip installs runs it."""
        words = self.run_(python, Path(sys.executable).parent / "twistd", "--help", path=path).split()
        return [word for word in words if word.startswith("epost")]

    def home(self, python: Path, path: str | None = None) -> Path:
        """From where an environment, started anywhere, imports epost."""
        return Path(self.run_(python, "-Pc", "import epost; print(epost.__file__)", path=path).strip()).parents[1]

    def build(self, kind: str) -> Path:
        """Build the C{wheel} or the C{sdist}."""
        made = self.folder / kind
        made.mkdir()
        name = self.run_(
            sys.executable,
            "-c",
            f"from setuptools import build_meta; print(build_meta.build_{kind}({str(made)!r}))",
        ).split()[-1]
        return made / name

    def test_wheel(self) -> None:
        """Installed from a wheel, twistd knows both commands, and they read the samples."""
        python = self.environment("installed")
        self.pip(python, self.build("wheel"))
        self.assertEqual(self.commands(python), COMMANDS)
        self.assertTrue(self.home(python).is_relative_to(python.parents[1]))
        for command in COMMANDS:
            sample = f"etc/{command.removeprefix('epost-')}.toml"
            self.run_(python, Path(sys.executable).parent / "twistd", command, "--config", sample, "--check")

    def test_editable(self) -> None:
        """Installed with C{pip install -e .} and no further option, twistd knows both commands."""
        python = self.environment("editable")
        self.pip(python, "-e", ".")
        self.assertEqual(self.commands(python), COMMANDS)
        self.assertEqual(self.home(python), self.source)

    def test_checkout(self) -> None:
        """Not installed at all, with C{PYTHONPATH=.}, twistd knows both commands."""
        python = self.environment("plain")
        self.assertEqual(self.commands(python, path="."), COMMANDS)
        self.assertEqual(self.home(python, path="."), self.source)

    def test_wheelIsComplete(self) -> None:
        """The wheel holds every module of the tree, the plug-in and the mark of types, and nothing beside them."""
        with zipfile.ZipFile(self.build("wheel")) as wheel:
            held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        modules = {str(path.relative_to(self.source)) for path in self.source.glob("epost/**/*.py")}
        self.assertEqual(held, modules | {"epost/py.typed", "twisted/plugins/epost_plugins.py"})

    def test_sdistIsComplete(self) -> None:
        """The source archive holds what a packager needs: tests, samples, pages and licence."""
        with tarfile.open(self.build("sdist")) as sdist:
            held = {name.partition("/")[2] for name in sdist.getnames()}
        files = [path for name in PUBLISHED for path in (self.source / name, *(self.source / name).rglob("*"))]
        wanted = {str(path.relative_to(self.source)) for path in files if path.is_file()}
        wanted = {name for name in wanted if "__pycache__" not in name and ".egg-info" not in name}
        self.assertEqual(wanted - held, set())
