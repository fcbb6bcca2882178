"""
C{make demo}: the story of the pair, played by real processes, told and checked step by step.

A back-end with four accounts, a gateway whose effect.dat refuses two of them, and a stand-in for the outside, all on
free loopback ports and in a temporary folder. The exit status is 0 only where every check held; then the folder is
removed, else it is left to be looked at.
"""

import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.system.conversation import Conversation
from tests.system.pair import Pair, interruptible, waitUntil

STRANGER = "127.0.0.9"  # an address that neither the office nor any rule knows
USER2 = "user2@test-sample00.jp"
REFUSAL = "550 Please, mail from a valid IP or Domain address."
WAIT = "2s"  # before the one retry after a refusal; 120s unless configured

# senderlog of a message that is refused twice: times as T, seconds since 1601 as #, {name} and {user} as they are.
REFUSED_TWICE = """\
[T] [{name}] [test-sample00.jp] GetTryServer:(0)
[T] [{name}] [test-sample00.jp] GetTryServer:(itime(#)-otime(#))/240=(0)
[T] [{name}] [test-sample00.jp] GetTryServer:(0)
[T] [{name}] ConnectHost(127.0.0.1)
[T] [{name}] SendMailMess:[T] 220 dc.epost.test E-POST ESMTP Receiver
[T] [{name}] SendMailMess:HELO test.jp
[T] [{name}] SendMailMess:[T] 250 dc.epost.test Hello [127.0.0.1], pleased to meet you
[T] [{name}] SendMailMess:MAIL From: <{user}@test.jp>
[T] [{name}] SendMailMess:[T] 550 Please, mail from a valid IP or Domain address.
[T] [{name}] SendMailMess:QUIT
[T] [{name}] [test-sample00.jp] GetTryServer:(0)
[T] [{name}] [test-sample00.jp] GetTryServer:(itime(#)-otime(#))/240=(0)
[T] [{name}] [test-sample00.jp] GetTryServer:(0)
[T] [{name}-R0001] [test-sample00.jp] GetTryServer:(0)
[T] [{name}-R0001] [test-sample00.jp] GetTryServer:(itime(#)-otime(#))/240=(1)
[T] [{name}-R0001] [test-sample00.jp] GetTryServer:(0)
[T] [{name}-R0001] ConnectHost(127.0.0.1)
[T] [{name}-R0001] SendMailMess:[T] 220 dc.epost.test E-POST ESMTP Receiver
[T] [{name}-R0001] SendMailMess:HELO test.jp
[T] [{name}-R0001] SendMailMess:[T] 250 dc.epost.test Hello [127.0.0.1], pleased to meet you
[T] [{name}-R0001] SendMailMess:MAIL From: <{user}@test.jp>
[T] [{name}-R0001] SendMailMess:[T] 550 Please, mail from a valid IP or Domain address.
[T] [{name}-R0001] SendMailMess:QUIT
[T] [{name}-R0001] [test-sample00.jp] GetTryServer:(0)
[T] [{name}-R0001] [test-sample00.jp] GetTryServer:(itime(#)-otime(#))/240=(1)
[T] [{name}-R0001] [test-sample00.jp] GetTryServer:(0)
[T] [{name}-001]:ReturnMail Start:RCPT To:{user}@test.jp
[T] [{name}-R0001] [test.jp] GetTryServer:(0)
[T] [{name}-R0001] [test.jp] GetTryServer:(itime(#)-otime(#))/240=(1)
[T] [{name}-001]:ReturnMail Start:domain:[test.jp] smtp server:[127.0.0.1]
"""


class Stage:
    """What is shown, and what was found wrong. @ivar failed: the checks that did not hold. @ivar held: how many did."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.held = 0
        self._scene = 0

    def scene(self, title: str) -> None:
        """Begin a step."""
        self._scene += 1
        print(f"\n{self._scene}. {title}\n{'-' * (len(title) + 3)}")

    def tell(self, text: str) -> None:
        """Say what happens, and why."""
        print(f"\n{text}")

    def quote(self, lines: Iterable[str]) -> None:
        """Show what somebody said or wrote."""
        print("".join(f"    {line}\n" for line in lines), end="")

    def check(self, what: str, holds: object) -> None:
        """Look whether something holds."""
        print(f"  {'ok    ' if holds else 'FAILED'}  {what}", flush=True)
        if holds:
            self.held += 1
        else:
            self.failed.append(what)


class Story:
    """The steps."""

    def __init__(self, pair: Pair, stage: Stage) -> None:
        self.pair = pair
        self.stage = stage

    def cast(self) -> None:
        """Who is there."""
        pair = self.pair
        self.stage.quote(
            [
                f"back-end  127.0.0.1:{pair.backend.port}  test.jp: mailboxes of user1, bucho, kacho, baito",
                f"gateway   127.0.0.1:{pair.gateway.port}  dc.epost.test: no mailboxes; its rules stand in effect.dat",
                f"outside   127.0.0.1:{pair.sink.port}  a stand-in, takes everything",
                f"folder    {pair.folder}",
            ]
        )
        self.stage.tell("The rules of the gateway, effect.dat; the first line that matches decides:")
        rules = (pair.etc / "effect.dat").read_text("utf-8").splitlines()
        self.stage.quote(f"{n:3} {line}" for n, line in enumerate(rules, 1) if line and not line.startswith("'"))

    def submit(self, sender: str, recipient: str, brief: bool = True) -> str:
        """
        A colleague's mail program gives a message to the back-end.

        @param brief: show the dialogue from MAIL to the end of data alone.
        @return: its name, C{B0000000001}.
        """
        content = f"Subject: test\r\n\r\nFrom {sender} to {recipient}.\r\n".encode()
        with Conversation(self.pair.backend.port) as client:
            client.say("EHLO desk.test.jp")
            begin = len(client.transcript)
            reply = client.mail(sender, [recipient], content)
            end = len(client.transcript)
            client.say("QUIT")
            self.stage.quote(client.transcript[begin:end] if brief else client.transcript)
        self.stage.check(f"the back-end takes it: {reply}", reply.startswith("250 "))
        return name(reply)

    def refused(self, user: str, recipient: str = USER2, brief: bool = False) -> None:
        """An account that may write inside only writes to the outside."""
        stage, pair, sender = self.stage, self.pair, f"{user}@test.jp"
        before = len(pair.sink.messages)
        stage.tell(f"{user} has an account, so the back-end takes the message and answers for it from now on.")
        number = self.submit(sender, recipient, brief)
        notice = f"{number}-R0001-E001"
        stage.tell(f"It asks the gateway, is refused, tries once more after {WAIT} as {number}-R0001, and gives up.")
        box = waitUntil(f"{notice}.MSG in {user}'s mailbox", lambda: self.delivered(user, notice))
        if not brief:
            self.tellRefusal(sender, number)
        lines = self.senderlog(number, 30)
        expected = REFUSED_TWICE.format(name=number, user=user).splitlines()
        stage.check("the senderlog tells it in E-Post's own lines, in E-Post's order", plain(lines) == expected)
        log = waitUntil("the gateway's reason", lambda: grep(pair.gateway.log(), f'"{sender} false"'), 5)
        stage.tell("Why? The gateway's own log names the line that decided:")
        stage.quote(log[-1:])
        stage.check("the rule of effect.dat is named, with its line", re.search(r"effect\.dat:\d+", log[-1]))
        stage.tell(f"What {user} gets back, {box.name}:")
        text = box.read_text("utf-8")
        stage.quote(text.splitlines() if not brief else grep(text, "^Subject: Del", f"^{USER2}", "^> 550"))
        stage.check("the notice names the recipient and what the gateway said", f"\n{USER2}\n\n> {REFUSAL}\n" in text)
        stage.check("nothing reached the outside", len(pair.sink.messages) == before)

    def tellRefusal(self, sender: str, number: str) -> None:
        """Both logs of a refusal."""
        self.stage.tell("The back-end's senderlog:")
        self.stage.quote(self.senderlog(number, 30))
        self.stage.tell("The gateway's receivelog, the same from the other side:")
        sessions = waitUntil("two sessions in the receivelog", lambda: self.sessions(sender, 2))
        self.stage.quote(line for session in sessions for line in session)
        self.stage.check("two sessions, each refused at MAIL", all(refusedAtMail(session) for session in sessions))

    def throughTheGateway(self) -> None:
        """bucho may write to the outside."""
        stage = self.stage
        stage.tell(
            "No rule names bucho. The last line of effect.dat lets the back-end's machine send what was not stopped."
        )
        number = self.submit("bucho@test.jp", USER2)
        (message,) = self.pair.sink.wait(1)
        stage.tell("The outside got it:")
        stage.quote([f"MAIL FROM:<{message.sender}>", *(f"RCPT TO:<{r}>" for r in message.recipients), ""])
        stage.quote(message.content.decode().splitlines())
        stage.check("from bucho, for user2", (message.sender, message.recipients) == ("bucho@test.jp", (USER2,)))
        stage.check("with its text", message.content.endswith(f"From bucho@test.jp to {USER2}.\r\n".encode()))
        stage.tell("The back-end's senderlog:")
        lines = waitUntil("DATA in the senderlog", lambda: ending("SendMailMess:QUIT", self.senderlog(number)))
        stage.quote(lines)
        stage.check("told there too", any(line.endswith("SendMailMess:DATA") for line in lines))

    def inside(self) -> None:
        """baito may write to colleagues."""
        stage, gateway = self.stage, self.pair.gateway
        before = len(grep("\n".join(gateway.receivelog()), "baito@test.jp"))
        stage.tell("Mail inside test.jp never touches the gateway, so its rules do not matter.")
        number = self.submit("baito@test.jp", "kacho@test.jp")
        box = waitUntil("it in kacho's mailbox", lambda: self.delivered("kacho", number))
        stage.tell(f"kacho's mailbox, {box.name}:")
        stage.quote(box.read_text("utf-8").splitlines())
        stage.check("it stands in kacho's mailbox under its own name", box.name.partition(":")[0] == f"{number}.MSG")
        after = len(grep("\n".join(gateway.receivelog()), "baito@test.jp"))
        stage.check("the gateway heard nothing of it", after == before)

    def fromOutside(self) -> None:
        """Mail from outside comes in through the gateway."""
        stage = self.stage
        stage.tell(
            f"A stranger, {STRANGER}, writes to kacho. gateway.dat says who takes the mail of test.jp: the back-end."
        )
        before = set(self.pair.backend.mailbox("kacho"))
        with self.stranger() as client:
            reply = client.mail(USER2, ["kacho@test.jp"], b"Subject: hello\r\nFrom: user2\r\n\r\nFrom outside.\r\n")
            stage.quote(client.transcript)
        stage.check(f"the gateway takes it: {reply}", reply.startswith("250 "))
        (box,) = waitUntil("it in kacho's mailbox", lambda: set(self.pair.backend.mailbox("kacho")) - before)
        text = box.read_text("utf-8")
        stage.tell(f"kacho's mailbox, {box.name}: both servers have left their mark.")
        stage.quote(text.splitlines())
        stage.check("two Received fields, the gateway's below", re.search(r"by test\.jp[^~]*by dc\.epost\.test", text))

    def notForStrangers(self) -> None:
        """What strangers may not do."""
        stage = self.stage
        stage.tell("A stranger can neither write to somebody who is not there nor use the gateway to reach others.")
        with self.stranger() as client:
            client.say(f"MAIL FROM:<{USER2}>")
            unknown = client.say("RCPT TO:<nobody@test.jp>")
            relayed = client.say("RCPT TO:<somebody@example.com>")
            stage.quote(client.transcript)
        stage.check("unknown users are refused at the door: the gateway asked the back-end", unknown.startswith("550"))
        stage.check("the gateway is no open relay", relayed.startswith("550") and "relaying" in relayed)

    def stranger(self) -> Conversation:
        """Somebody outside, connected to the gateway."""
        client = Conversation(self.pair.gateway.port, source=STRANGER)
        client.say("EHLO mail.test-sample00.jp")
        return client

    def senderlog(self, number: str, count: int = 1) -> list[str]:
        """What the back-end's senderlog says about a message, as soon as it says so much."""

        def look() -> list[str]:
            lines = [line for line in self.pair.backend.senderlog() if f"[{number}" in line]
            return lines if len(lines) >= count else []

        return waitUntil(f"{count} lines on {number} in senderlog", look)

    def sessions(self, sender: str, count: int) -> list[list[str]]:
        """The sessions of the gateway's receivelog in which somebody wrote as C{sender}; empty while they are fewer."""
        sessions: dict[str, list[str]] = {}
        for line in self.pair.gateway.receivelog():
            sessions.setdefault(line.split(", ")[1], []).append(line)
        ours = [s for s in sessions.values() if any(f"<{sender}>" in line for line in s) and "closesocket" in s[-1]]
        return ours if len(ours) >= count else []

    def delivered(self, user: str, name: str) -> Path | None:
        """The file of a message in a mailbox, once it is there."""
        return next((p for p in self.pair.backend.mailbox(user) if p.name.startswith(f"{name}.MSG")), None)


def name(reply: str) -> str:
    """The message's name in the reply to the end of data."""
    found = re.search(r"<(B\d+)>", reply)
    if not found:
        raise AssertionError(f"no name in: {reply}")
    return found[1]


def plain(lines: Iterable[str]) -> list[str]:
    """Lines of senderlog without what differs from run to run."""
    text = "\n".join(lines)
    text = re.sub(r"\d\d:\d\d:\d\d:\d\d\d", "T", text)
    text = re.sub(r"time\(\d+\)", "time(#)", text)
    return re.sub(r"(ESMTP Receiver) .*", r"\1", text).splitlines()


def grep(text: str, *patterns: str) -> list[str]:
    """The lines of a text that hold one of the patterns."""
    return [line for line in text.splitlines() if any(re.search(pattern, line) for pattern in patterns)]


def ending(end: str, lines: list[str]) -> list[str]:
    """The lines, once one of them ends so."""
    return lines if any(line.endswith(end) for line in lines) else []


def refusedAtMail(session: list[str]) -> bool:
    """Whether a session of receivelog is the seed's: greeting, HELO, MAIL and its refusal, QUIT, and the end."""
    said = "|".join(line.split(", ", 2)[2][:9] for line in session)
    return said == "220 dc.ep|HELO test|250 dc.ep|MAIL From|550 Pleas|QUIT|221 dc.ep|CloseClie|closesock"


def play(folder: Path, stage: Stage) -> None:
    """Start the pair and go through the story."""
    print("Starting epost-backend, epost-gateway and a stand-in for the outside …\n", flush=True)
    office = {"relay": {"networks": ["127.0.0.1"]}}
    with Pair(folder, backend={"retry": {"refused": [WAIT]}}, gateway=office) as pair:
        story = Story(pair, stage)
        story.cast()
        scenes: list[tuple[str, Callable[[], None]]] = [
            ("baito writes to the outside, and may not", lambda: story.refused("baito")),
            ("user1 fares the same", lambda: story.refused("user1", brief=True)),
            ("bucho gets through", story.throughTheGateway),
            ("baito writes to a colleague, and may", story.inside),
            ("The outside writes to kacho", story.fromOutside),
            ("What strangers may not do", story.notForStrangers),
        ]
        for title, scene in scenes:
            stage.scene(title)
            try:
                scene()
            except (AssertionError, OSError) as error:
                stage.check(str(error), False)
        stage.scene("Both stop")
        pair.idle()
        for daemon in pair.daemons:
            daemon.stop()
            clean = daemon.status in (0, -signal.SIGTERM) and not daemon.queue()
            stage.check(f"epost-{daemon.name} ended when it was told to, and left nothing in its queue", clean)


def main() -> int:
    """Play it in a temporary folder. @return: the exit status."""
    folder = Path(tempfile.mkdtemp(prefix="epost-demo-"))
    stage = Stage()
    begun = time.monotonic()
    try:
        play(folder, stage)
    except (AssertionError, OSError) as error:
        stage.check(str(error), False)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        return 130
    if stage.failed:
        print(f"\n{len(stage.failed)} of {stage.held + len(stage.failed)} checks FAILED; all is left in {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"\nAll {stage.held} checks held, in {time.monotonic() - begun:.0f} seconds. Try it by hand: make run")
    return 0


if __name__ == "__main__":
    interruptible()
    sys.exit(main())
