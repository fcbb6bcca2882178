"""Lists, forwarding, automatic replies and warnings, over the whole town."""

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.world.client import Client
from tests.world.stories import Picky
from tests.world.town import FILES, Town

DETAILS = """\
["kacho@test.jp"]
forward = ["nobody@test-sample00.jp"]
keep = false
["user1@test.jp"]
recipients_per_hour = 2
messages_per_hour = 1
["baito@test.jp"]
reply = { text = "I am away." }
"""
LISTS = '["staff@test.jp"]\nmembers = "staff.txt"\nowner = "bucho@test.jp"\npost = "anybody"\n'
COUNT = 250


class ForwardingTests(SynchronousTestCase):
    """What both daemons make of it, as their commands compose them."""

    def setUp(self) -> None:
        """The town, with a table of everything; one outside does not know nobody."""
        tables = 'accounts = "accounts.dat"\ndetails = "accounts.toml"\nlists = "lists.toml"\n'
        self.town = Town(
            self,
            files={
                **FILES,
                "backend.toml": FILES["backend.toml"].replace('accounts = "accounts.dat"\n', tables)
                + "[forwarding]\nsrs = true\n",
                "accounts.toml": DETAILS,
                "lists.toml": LISTS,
                "staff.txt": "bucho@test.jp\n" + "".join(f"m{n}@test-sample00.jp\n" for n in range(COUNT)),
                "effect.dat": "#< default\n#blank false\n192.168.0.102 true\n",
            },
        )
        self.town.outside.protocol = Picky

    def hand(self, recipient: str, sender: str, extra: str = "") -> str:
        """Somebody outside hands a message to the gateway. @return: the reply to the end of data."""
        client = Client(self.town.stranger, "192.168.0.103")
        client.reply()
        client.say("EHLO mx.test-sample00.jp")
        return client.mail(sender, [recipient], f"To: {recipient}\r\n{extra}Subject: a\r\n\r\nhello\r\n".encode())

    def test_returned(self) -> None:
        """What was sent on with SRS and is refused there is returned to whoever wrote it, and is done."""
        self.assertTrue(self.hand("kacho@test.jp", "user2@test-sample00.jp").startswith("250"))
        self.town.net.run(600)
        self.assertEqual(self.town.box("kacho"), {})
        ((sender, recipients, lines),) = self.town.outside.taken
        self.assertEqual((sender, recipients), ("<>", ["<user2@test-sample00.jp>"]))
        self.assertIn("> 550 5.1.1 no such user", lines)
        self.assertIn("Delivered-To: kacho@test.jp", lines)
        self.assertEqual(self.town.queue("backend") + self.town.queue("gateway"), [])

    def test_forged(self) -> None:
        """An address of SRS that was not made here is nobody's, at the gateway's door already."""
        client = Client(self.town.stranger, "192.168.0.103")
        client.reply()
        client.say("EHLO mx.test-sample00.jp")
        client.say("MAIL FROM:<>")
        reply = client.say("RCPT TO:<SRS0=AAAAAA=AA=x.example=victim@test.jp>")
        self.assertRegex(reply, "^550 5.1.1 ")

    def test_strangerToAList(self) -> None:
        """What somebody outside writes to a list comes through the gateway, which asks first whether it is there."""
        self.assertTrue(self.hand("staff@test.jp", "user2@test-sample00.jp").startswith("250"))
        self.town.net.run(600)
        self.assertEqual(len(self.town.box("bucho")), 1)

    def test_manyMembers(self) -> None:
        """A list is one message of the queue, and is handed over to many at a time, from an address of its own."""
        self.town.net.hosts["192.168.0.103"].ports.clear()
        self.assertTrue(self.town.submit("user1@test.jp", "staff@test.jp").startswith("250"))
        self.assertEqual(self.town.queue("backend"), ["holding/B0000000186-R0001"])
        self.town.gate.ports[25] = self.town.services["gateway"].ports.receiver
        self.town.net.run(600)
        senders = {sender for sender, _, _ in self.town.outside.taken}
        self.assertEqual(senders, {"<staff-bounces@test.jp>"})
        self.assertEqual(sorted(len(to) for _, to, _ in self.town.outside.taken), [50, 100, 100])
        self.assertEqual(len(self.town.box("bucho")), 1)
        self.assertEqual(self.town.queue("backend") + self.town.queue("gateway"), [])

    def test_awayOverARestart(self) -> None:
        """Who is away answers once, also where the server was stopped between."""
        for before in range(2):
            self.assertTrue(self.hand("baito@test.jp", "user2@test-sample00.jp").startswith("250"))
            self.town.net.until(lambda count=before: len(self.town.box("baito")) > count)
            self.town.stop("backend")
            self.town.start("backend")
            self.town.net.run(60)
        ((sender, recipients, lines),) = self.town.outside.taken
        self.assertEqual((sender, recipients), ("<>", ["<user2@test-sample00.jp>"]))
        self.assertIn("I am away.", lines)
        self.assertEqual(len(self.town.box("baito")), 2)

    def test_refusedIsNotCounted(self) -> None:
        """Who may send one message an hour to the outside still may where the first came to nothing, but not two."""
        client = Client(self.town.desk, "192.168.0.102")
        client.reply()
        client.say("EHLO pc")
        codes = [
            client.mail("user1@test.jp", ["a@test-sample00.jp"], f"Subject: a\r\n\r\n{text}\r\n".encode())[:3]
            for text in ("bare\n", "bare\n", "good")
        ]
        self.assertEqual(codes, ["554", "554", "250"])
        client.say("MAIL FROM:<user1@test.jp>")
        self.assertRegex(client.say("RCPT TO:<a@test-sample00.jp>"), "^450 4.7.1 ")

    def test_allowance(self) -> None:
        """Who has sent as much as he may hears so, and has one warning, as has postmaster."""
        client = Client(self.town.desk, "192.168.0.102")
        client.reply()
        client.say("EHLO pc")
        client.say("MAIL FROM:<user1@test.jp>")
        replies = [client.say(f"RCPT TO:<a{n}@test-sample00.jp>")[:9] for n in range(4)]
        self.assertEqual([bool(re.match("450 4.7.1", reply)) for reply in replies], [False, False, True, True])
        self.town.net.run(60)
        for user in ("user1", "bucho"):
            (text,) = self.town.box(user).values()
            self.assertIn("Subject: user1@test.jp has reached its limit\n", text)
