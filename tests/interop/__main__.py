"""
C{make interop}: every client and server of others against a pair of real processes.

The exit status is 0 where no check failed; then the folder is removed, else it is left to be looked at.
"""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from tests.interop.binding import binding
from tests.interop.clients import CLIENTS
from tests.interop.encryption import encryption
from tests.interop.places import Places
from tests.interop.relaying import USERS, Crowd, Relaying
from tests.interop.report import Report
from tests.interop.sending import LIMIT, Sending
from tests.interop.servers import ADVICE, Postfix, SmtpSink, program
from tests.interop.submitting import submission
from tests.interop.thunderbird import thunderbird
from tests.system.pair import Pair, Sections, freePorts, interruptible

SETTINGS: Sections = {"limits": {"message_octets": LIMIT}, "retry": {"refused": ["1s"], "deferred": ["2s"]}}
BACKEND: Sections = {**SETTINGS, "relay": {"hello": "EHLO"}}


def interop(folder: Path, report: Report) -> None:
    """Make every check."""
    pair = Pair(folder / "pair", BACKEND, SETTINGS)
    postfixPort, sinkPort = freePorts(2)
    with (pair.etc / "gateway.dat").open("a") as hops:
        hops.write(f"post.example, 127.0.0.1, {postfixPort}\ncrowd.example, 127.0.0.1, {sinkPort}\n")
    with pair:
        for client in CLIENTS:
            Sending(Places(pair), client).run(report)
        if Relaying.possible(report):
            postfix = Postfix(folder / "postfix", postfixPort, pair.gateway.port, USERS)
            with contextlib.ExitStack() as stack:
                if report.check("Postfix", "one of our own starts", lambda: stack.enter_context(postfix)):
                    Relaying(Places(pair, postfix.box), postfix).run(report)
        if program("smtp-source") is None:
            report.missing("smtp-source", ADVICE)
        else:
            with SmtpSink(folder / "sink", sinkPort) as sink:
                Crowd(Places(pair), sink).run(report)
    submission(folder / "submission", report)
    binding(folder / "binding", report)
    thunderbird(folder / "thunderbird", report)
    encryption(folder / "tls", report)


def main() -> int:
    """The command. @return: the exit status."""
    interruptible()
    report = Report()
    folder = Path(tempfile.mkdtemp(prefix="epost-interop-"))
    folder.chmod(0o755)  # Postfix's processes are other users and walk through
    try:
        interop(folder, report)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        return 130
    print(f"\n{report}")
    if report.failed:
        print(f"What they left: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
