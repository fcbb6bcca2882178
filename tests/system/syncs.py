"""
What was on the disk when a client was told 250: house 5's contract, read out of a system call trace.

    strace -D -f -y -s 512 -o FILE -e trace=CALLS twistd …      (L{Traced})
    verdict = judged(Path(FILE).read_text())                    verdict.faults: what broke a rule, in words

The rules, of every message: where 250 to the end of data is sent, the message stands under a last name whose content,
whose name and whose new folders were synced; a name in C{new} is given to synced content only; and the queue lets go of
a message only when its copies in mailboxes and the notices about it are synced. A sync covers what had ended before it
began, and counts from its return with 0 on; what one that failed may have lost stays lost (house 5.7).

Nothing of epost is imported: what is judged is what the kernel was asked for. All must lie on one file system.
"""

import os.path
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.pair import Daemon, waitUntil

CALLS = (
    "openat,write,writev,pwrite64,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,unlink,unlinkat,fsync,fdatasync,"
    "syncfs,sendto,sendmsg"
)

_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_OPEN_FILE = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_PLACE = re.compile(r"(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?\"([^\"]*)\"")
_MESSAGE = re.compile(r".*/(incoming|holding|new|cur)/(B\d+)(?:-R\d+)?(-[EW]\d+)?(?:-R\d+)?(?:\.MSG)?")
_INVITED = re.compile(r"354 .*<(B\d+)>")
_NEVER = float("inf")


class Traced(Daemon):
    """
    A daemon under strace, started like any other. Signals reach itself: its tracer (C{-D}) is nobody's parent.

    @ivar trace: the file.
    """

    def __init__(self, plain: Daemon, trace: Path, *options: str) -> None:
        """
        @param plain: the daemon that it stands for.
        @param options: of strace, such as C{-e inject=…}.
        """
        super().__init__(plain.name, plain.port, plain.config)
        self.trace = trace.absolute()
        self._options = options

    def command(self, *more: str) -> list[str]:
        """As it is, behind strace."""
        strace = ["strace", "-D", "-f", "-y", "-s", "512", "-o", str(self.trace), "-e", f"trace={CALLS}"]
        return [*strace, *self._options, *super().command(*more)]

    def traced(self) -> str:
        """The whole trace. @raise AssertionError: the daemon has not ended, or its tracer has not."""
        assert self.process is not None
        end = re.compile(rf"^{self.process.pid} +\+\+\+ .* \+\+\+$", re.MULTILINE)
        waitUntil("the end of the trace", lambda: end.search(self.trace.read_text("utf-8", "backslashreplace")))
        return self.trace.read_text("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Operation:
    """
    One system call.

    @ivar began: number of the line where it was called.
    @ivar ended: of the line where it returned.
    @ivar arguments: as strace writes them.
    @ivar worked: whether it returned what is no error.
    @ivar result: what stands behind the returned number: the path of a file that was opened.
    """

    began: int
    ended: int
    call: str
    arguments: str
    worked: bool
    result: str = ""

    @property
    def file(self) -> str:
        """What stands for the descriptor, the first argument: a path, or C{socket:[inode]}."""
        found = _OPEN_FILE.match(self.arguments)
        return found[1] if found else ""

    @property
    def places(self) -> list[str]:
        """The paths that it names, absolute."""
        return [os.path.normpath(os.path.join(base, path)) for base, path in _PLACE.findall(self.arguments)]

    @property
    def replies(self) -> list[str]:
        """The lines that it sends, as far as they are whole."""
        text = "".join(_TEXT.findall(self.arguments)) if self.file.startswith("socket:") else ""
        return text.split("\\r\\n")[:-1]


def operations(trace: str) -> list[Operation]:
    """The calls of a trace of all threads, in the order in which they ended. One that never returned is left out."""
    begun: dict[str, tuple[int, str]] = {}
    found = []
    for number, line in enumerate(trace.splitlines(), 1):
        matched = _LINE.fullmatch(line)
        if not matched:
            continue
        thread, text = matched.groups()
        began = number
        if text.endswith(_UNFINISHED):
            begun[thread] = number, text.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.fullmatch(text):
            began, start = begun.pop(thread)
            text = start + resumed[1]
        if call := _CALL.fullmatch(text):
            name, arguments, returned, rest = call.groups()
            worked = returned.isdigit()
            opened = re.match(r"<([^>]*)>", rest)
            found.append(Operation(began, number, name, arguments, worked, opened[1] if opened else ""))
    return found


@dataclass(slots=True)
class Verdict:
    """
    What a trace shows.

    @ivar acknowledged: messages that were answered 250, in order.
    @ivar copies: for each message that the queue let go: how many copies in mailboxes and notices were synced then.
    @ivar syncs: the calls by which it was synced: C{fsync}, C{syncfs}.
    @ivar faults: what broke a rule.
    """

    acknowledged: list[str] = field(default_factory=list)
    copies: dict[str, int] = field(default_factory=dict)
    syncs: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


def judged(trace: str) -> Verdict:
    """Apply the rules to a trace."""
    disk = _Disk()
    moments: list[tuple[int, int, Operation]] = []
    for operation in operations(trace):
        moments += [(operation.began, 0, operation), (operation.ended, 1, operation)]
    for _, end, operation in sorted(moments, key=lambda moment: moment[:2]):
        (disk.end if end else disk.begin)(operation)
    return disk.verdict


class _Disk:
    """
    What is surely on the medium, as the calls come and go.

    A I{thing} is C{("content", path)} or C{("name", path)}. What is not in C{_unsynced} is synced, or is older than the
    trace.
    """

    def __init__(self) -> None:
        self.verdict = Verdict()
        self._unsynced: dict[tuple[str, str], float] = {}  # when it was done; _NEVER: is being done, or is lost
        self._standing: dict[str, set[str]] = {}  # message -> its last names
        self._invited: dict[str, str] = {}  # socket -> the message that its 354 named

    def begin(self, operation: Operation) -> None:
        """It is called: what it changes is in doubt from now on, and what it tells must be true by now."""
        for thing in _changed(operation):
            self._unsynced[thing] = _NEVER
        if operation.call.startswith("rename"):
            old, new = operation.places
            if "/new/" in new:
                self._demand(f"{new} got its name", self._doubts(old, names=False))
        elif operation.call.startswith("unlink"):
            self._letGo(operation.places[0])
        for line in operation.replies:
            self._said(operation.file, line)

    def end(self, operation: Operation) -> None:
        """It has returned."""
        if operation.call in ("fsync", "fdatasync", "syncfs"):
            self._synced(operation)
            return
        for thing in _changed(operation):
            self._unsynced[thing] = operation.ended
            if not operation.worked and thing[0] == "name":
                del self._unsynced[thing]
        if not operation.worked:
            return
        if operation.call.startswith(("rename", "unlink")):
            old = operation.places[0]
            content = self._unsynced.pop(("content", old), None)
            self._unsynced.pop(("name", old), None)
            self._stands(old, False)
            if operation.call.startswith("rename"):
                new = operation.places[1]
                self._unsynced.pop(("content", new), None)
                if content is not None:
                    self._unsynced["content", new] = content
        for kind, path in _changed(operation):
            if kind == "name":
                self._stands(path, True)

    def _synced(self, operation: Operation) -> None:
        """A sync has ended."""
        self.verdict.syncs.add(operation.call)
        for thing, done in list(self._unsynced.items()):
            kind, path = thing
            covered = path if kind == "content" else os.path.dirname(path)
            if operation.call == "syncfs" or covered == operation.file:
                if not operation.worked:
                    self._unsynced[thing] = _NEVER
                elif done < operation.began:
                    del self._unsynced[thing]

    def _stands(self, path: str, there: bool) -> None:
        """A name was given or taken away."""
        if found := _MESSAGE.fullmatch(path):
            names = self._standing.setdefault(found[2] + (found[3] or ""), set())
            (names.add if there else names.discard)(path)

    def _said(self, socket: str, line: str) -> None:
        """One line was said to somebody."""
        name = self._invited.pop(socket, None)
        if invited := _INVITED.match(line):
            self._invited[socket] = invited[1]
        elif name is not None and line.startswith("250"):
            self.verdict.acknowledged.append(name)
            doubts = [self._doubts(path) for path in sorted(self._standing.get(name, ()))]
            if all(doubts):  # one place where it is safe is enough
                self._demand(f"{name} was answered 250", min(doubts, key=len, default=["it stands nowhere"]))

    def _letGo(self, path: str) -> None:
        """A name is taken away; where it is the queue's, mailboxes and sender must have theirs."""
        found = _MESSAGE.fullmatch(path)
        if found and found[1] in ("incoming", "holding"):
            name = found[2] + (found[3] or "")
            copies = [copy for copy in self._standing.get(name, ()) if "/new/" in copy or "/cur/" in copy]
            for other, paths in self._standing.items():
                copies += paths if other.startswith(f"{name}-") else ()
            for copy in copies:
                self._demand(f"the queue let go of {path}", self._doubts(copy))
            self.verdict.copies[name] = len(copies)

    def _doubts(self, path: str, names: bool = True) -> list[str]:
        """Why a file may be gone after a power cut. @param names: whether its name counts."""
        things = [("content", path)]
        while names and path != "/":
            things.append(("name", path))
            path = os.path.dirname(path)
        return [f"the {kind} of {path} is not synced" for kind, path in things if (kind, path) in self._unsynced]

    def _demand(self, what: str, doubts: list[str]) -> None:
        """Note a fault, if there is one."""
        if doubts:
            self.verdict.faults.append(f"{what}, but {' and '.join(doubts)}")


def _changed(operation: Operation) -> Iterator[tuple[str, str]]:
    """The things that a call changes."""
    call = operation.call
    if call in ("write", "writev", "pwrite64"):
        if operation.file.startswith("/"):
            yield "content", operation.file
    elif call.startswith(("rename", "link")):
        yield "name", operation.places[1]
    elif call.startswith("mkdir"):
        yield "name", operation.places[0]
    elif call == "openat" and "O_CREAT" in operation.arguments:
        yield "name", operation.places[0]
        yield "content", operation.places[0]
