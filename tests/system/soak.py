"""
SIGKILL under load: C{make soak}. Clients hand over marked messages while one daemon after the other is killed at a
random instant and started again; when the queues are empty every message that got its 250 is looked for in mailboxes,
at the sink and in dead. Nothing may be lost or stuck; what is there twice is counted (RFC 1047).

    python -m tests.system.soak [rounds] [seed]

Everything happens on 127.0.0.1, in a folder of its own, and ends by itself. Exit 1 where a message is lost, or none
was taken.
"""

import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.system.conversation import Conversation
from tests.system.pair import Daemon, Pair, Sections

# A whole message: one that is cut, spoiled or mixed with another is no place of its mark.
MARK = re.compile(rb"X-Mark: (\d+)\r?\n(?:[^\r\n]+\r?\n)*\r?\n(?:y{70}\r?\n)+end \1\r?\n")
HASTY: Sections = {"retry": {"deferred": ["1s"], "refused": ["1s"]}}
INSIDE, COLLEAGUE, OUTSIDE = "user1@test.jp", "kacho@test.jp", "user2@test-sample00.jp"


class Load:
    """
    Clients that write as fast as they are answered.

    @ivar acknowledged: marks, each with its recipients.
    @ivar replies: what was said last to each message, by its first nine characters: C{452 4.3.1}. How often.
    """

    def __init__(self, pause: float = 0.0) -> None:
        """@param pause: seconds between two messages of one client."""
        self.acknowledged: dict[bytes, list[str]] = {}
        self.replies: Counter[str] = Counter()
        self._pause = pause
        self._marks = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, daemon: Daemon, sender: str, recipients: list[str], octets: int = 500) -> None:
        """One client more. @param octets: of its messages, about."""
        thread = threading.Thread(target=self._client, args=(daemon, sender, recipients, octets))
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """No client begins another message."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def mixed(self, pair: Pair, octets: int = 500) -> None:
        """Eight clients: for one mailbox, for two, for outside, and through the gateway."""
        for _ in range(2):
            self.start(pair.backend, "bucho@test.jp", [INSIDE], octets)
            self.start(pair.backend, "bucho@test.jp", [INSIDE, COLLEAGUE], octets)
            self.start(pair.backend, "bucho@test.jp", [COLLEAGUE, OUTSIDE], octets)
            self.start(pair.gateway, "sato@test-sample00.jp", [COLLEAGUE], octets)

    def lost(self, places: dict[bytes, list[str]]) -> dict[bytes, list[str]]:
        """The messages that got their 250 and are missing, and for whom. @param places: see L{Pair.census}."""
        found = {mark: missing(to, places.get(mark, [])) for mark, to in self.acknowledged.items()}
        return {mark: who for mark, who in found.items() if who}

    def _client(self, daemon: Daemon, sender: str, recipients: list[str], octets: int) -> None:
        while not self._over.is_set():
            try:
                with Conversation(daemon.port) as conversation:
                    self._write(conversation, sender, recipients, octets)
            except OSError:  # it was killed; the next one listens soon
                self._over.wait(0.05)

    def _write(self, conversation: Conversation, sender: str, recipients: list[str], octets: int) -> None:
        text = (b"y" * 70 + b"\r\n") * (octets // 72 + 1)
        conversation.say("EHLO pc.test.jp")
        while not self._over.is_set():
            with self._lock:
                self._marks += 1
                mark = b"%d" % self._marks
            reply = conversation.mail(sender, recipients, b"X-Mark: %s\r\n\r\n%send %s\r\n" % (mark, text, mark))
            self.replies[reply[:9]] += 1
            if reply.startswith("250"):
                self.acknowledged[mark] = recipients
            else:
                conversation.say("RSET")
            if self._pause:
                self._over.wait(self._pause)


def missing(recipients: list[str], places: list[str]) -> list[str]:
    """Which recipients an acknowledged message is lost for. What stands in a queue may be for any of them."""
    if any("/incoming/" in place or "/holding/" in place or "/dead/" in place for place in places):
        return []
    boxes = {place.split("/inbox/")[1].split("/")[0] for place in places if "/inbox/" in place}
    found = boxes | ({"user2"} if "sink" in places else set())
    return [recipient for recipient in recipients if recipient.split("@")[0] not in found]


def soak(folder: Path, rounds: int, seed: int) -> bool:
    """@return: whether messages were acknowledged and none is lost."""
    chance = random.Random(seed)
    with Pair(folder, HASTY, HASTY) as pair:
        load = Load()
        load.mixed(pair)
        try:
            for number in range(1, rounds + 1):
                time.sleep(chance.uniform(0.2, 1.2))
                daemon = chance.choice(pair.daemons)
                daemon.kill()
                daemon.start()
                print(f"{number:3d}  epost-{daemon.name} killed; {len(load.acknowledged)} acknowledged", flush=True)
        finally:
            load.stop()
        pair.idle(120)
        for daemon in pair.daemons:
            daemon.stop()
        places = pair.census(MARK)
    lost = load.lost(places)
    twice = sum(len(each) > len(set(each)) or _copies(each) for each in places.values())
    for mark, who in list(lost.items())[:10]:
        print(f"LOST: message {mark.decode()} for {', '.join(who)}; found at {places.get(mark, [])}")
    print(f"{len(load.acknowledged)} acknowledged in {rounds} kills, {len(lost)} lost, {twice} more than once")
    return bool(load.acknowledged) and not lost


def _copies(places: list[str]) -> bool:
    """Whether one mailbox has a message more than once."""
    boxes = [place.split("/inbox/")[1].split("/")[0] for place in places if "/inbox/" in place]
    return len(boxes) > len(set(boxes))


def main(arguments: list[str]) -> int:
    """The command. @return: the exit status."""
    rounds = int(arguments[0]) if arguments else 50
    seed = int(arguments[1]) if len(arguments) > 1 else random.randrange(10_000)
    print(f"{rounds} kills, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="epost-soak-") as folder:
        return 0 if soak(Path(folder), rounds, seed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
