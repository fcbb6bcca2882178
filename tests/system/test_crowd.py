"""All places taken, over real sockets."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.system.conversation import Conversation, submit
from tests.system.pair import Pair
from tests.system.siege import BUCHO, HEADER, USER1

STRANGER, GATEWAY = "127.0.0.8", "127.0.0.1"


class PlacesTests(SynchronousTestCase):
    """Places are few, and somebody wants them all."""

    def test_slowSenders(self) -> None:
        """Strangers who sit in DATA have all that strangers may have, and our own machines are served all the same."""
        limits = {
            "limits": {"connections": 20, "connections_per_address": 20},
            "relay": {"gateways": [GATEWAY]},
        }
        with Pair(Path(self.mktemp()).absolute(), limits) as pair:
            port = pair.backend.port
            for _ in range(18):
                slow = self.enterContext(Conversation(port, source=STRANGER))
                said = [slow.say(each) for each in ("HELO x", f"MAIL FROM:<{BUCHO}>", f"RCPT TO:<{USER1}>", "DATA")]
                self.assertEqual(said[-1][:3], "354", said)
            with Conversation(port, source=STRANGER) as refused:
                self.assertEqual(refused.greeting[:3], "421")
            self.assertEqual(submit(port, "sato@x.example", [USER1], HEADER, GATEWAY)[:3], "250")
