"""
C{make run}: the pair in the foreground, with lines to try. Ctrl-C ends it.

What both daemons log and what comes to the stand-in for the outside is shown as it happens. Everything lies in var/run:
mail stays there from run to run, the configuration is made anew from etc/.
"""

import sys
import time
from pathlib import Path

from tests.system.pair import ROOT, Pair, interruptible
from tests.system.sink import Taken

WAIT = "10s"  # before the one retry after a refusal; 120s unless configured

WELCOME = """\
The pair is up; Ctrl-C stops it.

  back-end  127.0.0.1:{backend}   test.jp, with user1, bucho, kacho and baito
  gateway   127.0.0.1:{gateway}   dc.epost.test; keeps baito and user1 from writing to the outside
  outside   127.0.0.1:{sink}   a stand-in that takes everything
  mail      {inbox}
  logs      {folder}/var/*/senderlog, …/receivelog
  rules     {folder}/etc/effect.dat, gateway.dat: change them and watch

Try in another window:

  swaks --server 127.0.0.1:{backend} --from bucho@test.jp --to user2@test-sample00.jp
  swaks --server 127.0.0.1:{backend} --from baito@test.jp --to user2@test-sample00.jp    # comes back after {wait}
  swaks --server 127.0.0.1:{gateway} --from user2@test-sample00.jp --to kacho@test.jp
  nc -C 127.0.0.1 {gateway}        # then type: HELO test.jp / MAIL From: <baito@test.jp> / QUIT
"""


class Tail:
    """What is added to a file."""

    def __init__(self, label: str, path: Path) -> None:
        self.label = label
        self.path = path
        self.place = path.stat().st_size if path.exists() else 0

    def show(self) -> None:
        """Print the whole lines that are new."""
        with self.path.open("rb") as file:
            file.seek(self.place)
            new, _, _ = file.read().rpartition(b"\n")
        if new:
            self.place += len(new) + 1
            for line in new.decode("utf-8", "backslashreplace").splitlines():
                print(f"{self.label:8} {line}", flush=True)


def arrived(message: Taken) -> None:
    """Say that something came to the outside."""
    print(f"outside  got {len(message.content)} octets from <{message.sender}> for {message.recipients}", flush=True)


def main() -> int:
    """Keep the pair up until Ctrl-C, or until one of the two ends. @return: the exit status."""
    folder = ROOT / "var" / "run"
    tails: list[Tail] = []
    try:
        with Pair(folder, backend={"retry": {"refused": [WAIT]}}, heard=arrived) as pair:
            tails = [Tail(name, folder / f"{name}.log") for name in ("backend", "gateway")]
            print(
                WELCOME.format(
                    backend=pair.backend.port,
                    gateway=pair.gateway.port,
                    sink=pair.sink.port,
                    folder=folder.relative_to(ROOT),
                    inbox=(pair.backend.folder / "inbox").relative_to(ROOT),
                    wait=WAIT,
                ),
                flush=True,
            )
            while all(daemon.running for daemon in pair.daemons):
                for tail in tails:
                    tail.show()
                time.sleep(0.3)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    for tail in tails:
        tail.show()
    return 1


if __name__ == "__main__":
    interruptible()
    sys.exit(main())
