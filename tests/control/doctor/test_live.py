"""Tests of L{epost.control.doctor.live}: where one half does not hear the other."""

from collections.abc import Callable

from epost.control.doctor import live
from epost.control.doctor.finding import Finding
from epost.mail.route import Hop
from tests.control.doctor.cases import HASTE, REMARK, WRONG, Case
from tests.system.sink import Sink


class LiveTests(Case):
    """What the back-end answers when it is asked as the gateway asks it."""

    def test_noAccounts(self) -> None:
        """Without accounts there is nobody to ask about, and that is said."""
        backend = self.half("backend", {"accounts.dat": ""}, domains={"postmaster": None})
        self.assertFound(live.verification(backend, Hop("127.0.0.1", 9), HASTE), REMARK, "there is no account")

    def test_verification(self) -> None:
        """The back-end tells who is there; or takes anybody, or nobody, or hangs up."""
        sink = self.enterContext(Sink())
        hop = Hop("127.0.0.1", sink.port)

        def found(answer: Callable[[str], str | None]) -> list[Finding]:
            sink.answer = answer
            return live.verification(self.half("backend"), hop, HASTE)

        self.assertAllOk(found(lambda c: "550 unknown" if "nobody" in c else None))
        self.assertFound(found(lambda c: None), REMARK, "takes mail for nobody")
        self.assertFound(found(lambda c: "550 no" if c[:4] == "MAIL" else None), WRONG, "gateway would refuse him")
        full = found(lambda c: "452 Insufficient system storage." if c[:4] == "MAIL" else None)
        self.assertFound(full, WRONG, 'bucho@test.jp, answers "452', "full disk")
        self.assertNotIn("refuse", str(full))
        self.assertFound(found(lambda c: "" if c[:4] == "RCPT" else None), WRONG, "ended the conversation")
        self.assertFalse([word for word in sink.commands if word.upper().startswith("DATA")])
