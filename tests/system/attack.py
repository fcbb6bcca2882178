"""
Attacks on the SMTP port, from outside, on a daemon as it runs. After each, and while it lasts: is the next client
served, and how much memory did it take?

    python -m tests.system.attack [name …]          all, or those that are named

Everything happens on 127.0.0.0/8, is bounded, and ends by itself. Exit 1 where a client was not served, something came
through that should not have, or the peak of memory rose by more than the attack is allowed.
"""

import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.system.conversation import Conversation, submit
from tests.system.pair import interruptible, waitUntil
from tests.system.siege import ABROAD, BUCHO, HEADER, KACHO, SLOWLY, USER1, Attack, Run, Stage, besieged

LIMIT = 26_214_400  # of a message, in octets: the default
LINE = b"0123456789" * 7 + b"\r\n"
SMUGGLED = b"MAIL FROM:<bucho@test.jp>\r\nRCPT TO:<kacho@test.jp>\r\nDATA\r\nX-Mark: smuggled\r\n\r\n.\r\n"


ATTACKS: dict[str, Attack] = {}


def attack(allowed: float = 4) -> Callable[[Run], Run]:
    """Make an attack of a function."""

    def taken(run: Run) -> Run:
        ATTACKS[run.__name__] = Attack(run, allowed)
        return run

    return taken


def sentAtOnce(stage: Stage, count: int, recipients: list[str], content: bytes) -> list[str]:
    """Several clients with the same message. @return: what each was told."""
    replies: list[str] = []
    port = stage.daemon.port
    threads = [
        threading.Thread(target=lambda: replies.append(submit(port, BUCHO, recipients, content))) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def pushed(connection: socket.socket, octets: bytes, times: int, seconds: float = 2) -> int:
    """Send again and again, until nobody takes any more for so many seconds. @return: octets that were taken."""
    connection.settimeout(seconds)
    sent = 0
    with suppress(OSError):
        for _ in range(times):
            rest = memoryview(octets)
            while rest:
                count = connection.send(rest)
                sent += count
                rest = rest[count:]
    return sent


def big(stage: Stage, recipients: list[str]) -> Iterator[str]:
    """Four messages of nearly 25 MB at once."""
    content = HEADER + LINE * ((LIMIT - 1000) // len(LINE))
    replies = sentAtOnce(stage, 4, recipients, content)
    assert all(reply.startswith("250") for reply in replies), replies
    yield f"4 of {len(content):,} octets taken"
    waitUntil("an empty queue", lambda: not stage.daemon.queue("incoming", "holding"), 60)
    for user in ("user1", "kacho", "bucho"):
        for file in stage.daemon.mailbox(user):
            file.unlink()


@attack()
def bigBox(stage: Stage) -> Iterator[str]:
    """Four messages of 25 MB at once, into one mailbox."""
    return big(stage, [USER1])


@attack()
def bigBoxes(stage: Stage) -> Iterator[str]:
    """Four messages of 25 MB at once, into the queue and from there into two mailboxes."""
    return big(stage, [USER1, KACHO])


@attack()
def bigAbroad(stage: Stage) -> Iterator[str]:
    """Four messages of 25 MB at once, through the gateway to the outside."""
    yield from big(stage, [ABROAD])
    stage.pair.sink.wait(4)
    stage.pair.sink.messages.clear()


@attack()
def bigSlowly(stage: Stage) -> Iterator[str]:
    """Four messages of 25 MB at once, to a host that takes 40 MB a second of each."""
    stage.slow.verdict = "250 ok"
    return big(stage, [SLOWLY])


@attack()
def bigReturned(stage: Stage) -> Iterator[str]:
    """Four messages of 25 MB at once, to a host that refuses them at the end: four notices that hold them."""
    stage.slow.verdict = "550 no"
    yield from big(stage, [SLOWLY])


@attack(allowed=16)
def drip(stage: Stage) -> Iterator[str]:
    """1,000 connections, half of them in DATA, an octet a second for five seconds."""
    with ExitStack() as stack:
        opened = [(stage.content if place % 2 else stage.connect)(place) for place in range(1000)]
        for connection in opened:
            stack.enter_context(connection)
        for _ in range(5):
            began = time.monotonic()
            for connection in opened:
                connection.send(b"x")
            time.sleep(max(0, began + 1 - time.monotonic()))
        yield "5,000 octets in 5 seconds"


@attack(allowed=8)
def crumbs(stage: Stage) -> Iterator[str]:
    """60 messages at once in pieces of two octets, 16,000 of them each: as much as is kept in memory."""
    with ExitStack() as stack:
        opened = [stack.enter_context(stage.content(place)) for place in range(60)]
        for connection in opened:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        deadline = time.monotonic() + 60
        pieces = 0
        while pieces < 16_000 and time.monotonic() < deadline:
            for connection in opened:
                connection.send(b"xy")
            pieces += 1
        yield f"{pieces:,} pieces each"


@attack(allowed=16)
def deaf(stage: Stage) -> Iterator[str]:
    """50 clients that pipeline messages, each behind some talk, without end, and never read a reply."""
    message = f"MAIL FROM:<{BUCHO}>\r\nRCPT TO:<{USER1}>\r\nDATA\r\n.\r\n".encode()
    said = (b"EHLO x\r\n" * 30 + message) * 100  # talk alone ends a session
    with ExitStack() as stack:
        sent = 0
        for place in range(50):
            connection = stack.enter_context(stage.connect(place))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sent += pushed(connection, said, 200, 0.1)
        yield f"{sent:,} octets taken, {len(stage.daemon.mailbox('user1')):,} messages of them delivered"
    for file in stage.daemon.mailbox("user1"):
        file.unlink()


@attack()
def line(stage: Stage) -> Iterator[str]:
    """A command line of 100 MB without end."""
    with stage.connect() as connection:
        sent = pushed(connection, b"x" * 65536, 1600)
        yield f"{sent:,} octets taken"
        connection.sendall(b"\r\n")
        reply = connection.recv(512)
        assert reply.startswith(b"500"), reply


@attack()
def headerLine(stage: Stage) -> Iterator[str]:
    """A header line of 100 MB, in DATA."""
    with stage.content() as connection:
        sent = pushed(connection, b"X-Mark:" + b"x" * 65536, 1600)
        yield f"{sent:,} octets taken"
        connection.sendall(b"\r\n.\r\n")
        reply = connection.recv(512)
        assert reply.startswith(b"552"), reply
    assert not stage.leftovers()


@attack()
def headerLines(stage: Stage) -> Iterator[str]:
    """25 MB of header lines, in DATA."""
    replies = sentAtOnce(stage, 1, [USER1], b"X-Mark: x\r\n" * (LIMIT // 12))
    yield f"answered {replies[0][:30]}"
    for file in stage.daemon.mailbox("user1"):
        file.unlink()


@attack()
def recipients(stage: Stage) -> Iterator[str]:
    """100,000 RCPT for one message, all at once."""
    yield _recipients(stage, 100_000)


def _recipients(stage: Stage, count: int) -> str:
    """So many RCPT. @return: how many of them were taken."""
    with stage.connect() as connection:
        connection.sendall(f"EHLO x\r\nMAIL FROM:<{BUCHO}>\r\n".encode())
        thread = threading.Thread(
            target=pushed, args=(connection, f"RCPT TO:<{USER1}>\r\n".encode() * 100, count // 100)
        )
        thread.start()
        taken = answered = 0
        with connection.makefile("rb") as replies:
            for reply in replies:
                taken += reply.startswith(b"250 2.1.5")
                answered += reply[:1] in b"45" or reply.startswith(b"250 2.1.5")
                if answered == count or reply.startswith(b"421"):
                    break
        thread.join()
    assert taken <= 100, taken
    return f"{taken} taken, {answered - taken:,} refused"


@attack()
def nul(stage: Stage) -> Iterator[str]:
    """NUL and other controls in every command, and 20 MB of them in content."""
    with Conversation(stage.daemon.port, source="127.0.0.8") as client:
        controls = bytes(set(range(32)) - {10, 13})
        for command in (b"EHLO x%s", b"MAIL FROM:<a%s@x.example>", b"RCPT TO:<%s>", b"\0%s", b"NOOP %s"):
            client.send(command % controls + b"\r\n")
            client.reply()
    content = HEADER + (controls * 4 + b"\r\n") * 160_000
    reply = submit(stage.daemon.port, BUCHO, [USER1], content)
    yield f"content of NUL answered {reply[:30]}"
    for file in stage.daemon.mailbox("user1"):
        assert reply.startswith("250"), reply
        stored = file.read_bytes().partition(b"\n\n")[2]
        assert stored == content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n"), "NUL were changed"
        file.unlink()


@attack()
def halves(stage: Stage) -> Iterator[str]:
    """Half a command, then gone, a thousand times."""
    for place in range(1000):
        with stage.connect(place) as connection:
            connection.sendall((b"MAIL FROM:<buch", b"EH", b"EHLO x\r\nMAIL FR", b"\r")[place % 4])
    yield "1,000 connections"


@attack()
def gone(stage: Stage) -> Iterator[str]:
    """A sender that goes away in DATA, a hundred times, half of them with a reset; nothing of it may stay."""
    for place in range(100):
        with stage.content(place) as connection:
            connection.sendall(HEADER + LINE * (2000 if place % 3 else 1))
            if place % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    waitUntil("no leftovers", lambda: not stage.leftovers(), 10)
    yield "100 times, nothing stayed"


@attack()
def lookalikes(stage: Stage) -> Iterator[str]:
    """What looks like the end of data and is none, with a message hidden behind it (SMTP smuggling)."""
    ends = [a + b"." + b for a in (b"\n", b"\r", b"\r\n", b"\r\0\n", b"\n\r") for b in (b"\n", b"\r", b"\r\n", b"\n\r")]
    ends = [end for end in ends if end != b"\r\n.\r\n"] + [
        b"\r\n..\r\n",
        b"\r\n.\0\r\n",
        b"\r\n. \r\n",
        b"\0\r\n\0.\r\n",
    ]
    for end in ends:
        for cut in range(len(end)):
            with stage.content() as connection, suppress(ConnectionError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(HEADER + b"text" + end[:cut])
                connection.sendall(end[cut:] + SMUGGLED + b"QUIT\r\n")
                while connection.recv(4096):
                    pass
    yield f"{len(ends)} of them, at every cut; {stage.smuggled()} smuggled"
    assert not stage.smuggled()


@attack()
def sizes(stage: Stage) -> Iterator[str]:
    """Sizes above the limit: announced, absurd, and not announced with 40 MB that come all the same."""
    with Conversation(stage.daemon.port, source="127.0.0.8") as client:
        client.say("EHLO x")
        said = [
            client.say(f"MAIL FROM:<{BUCHO}> SIZE={size}")[:3] for size in (LIMIT + 1, 10**19, "9" * 300, "-1", "1e9")
        ]
    assert not any(code.startswith("2") for code in said), said
    reply = submit(stage.daemon.port, BUCHO, [USER1], LINE * (40_000_000 // len(LINE)))
    assert reply.startswith("552"), reply
    yield f"{' '.join(said)}; then {reply[:30]}"
    assert not stage.leftovers()


@attack(allowed=60)
def idle(stage: Stage) -> Iterator[str]:
    """10,000 connections that say nothing."""
    with ExitStack() as stack:
        began = time.monotonic()
        for place in range(10_000):
            stack.enter_context(stage.connect(place))
        yield f"opened in {time.monotonic() - began:.1f} s"


def main(arguments: list[str]) -> int:
    """The command. @return: the exit status."""
    interruptible()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = arguments or list(ATTACKS)
    if hard < 12_000 and "idle" in names:
        names.remove("idle")
        print(f"idle: left out, it needs 12,000 open files and the system allows {hard}")
    with tempfile.TemporaryDirectory(prefix="epost-attack-") as folder:
        stage = Stage(Path(folder))
        with stage.slow, stage.pair:
            faults = besieged(stage, {name: ATTACKS[name] for name in names})
    for fault in faults:
        print(f"FAILED {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
