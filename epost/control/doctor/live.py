"""
Whether the two halves hear each other, now: each greets, and the back-end tells who is there. No message is sent.
"""

from epost.control.doctor.finding import Finding, Findings
from epost.control.doctor.pair import NOBODY, Half
from epost.control.doctor.wire import PATIENCE, neighbour, talk
from epost.mail.route import Hop


def live(backend: Half | None, gateway: Half | None, patience: float = PATIENCE) -> list[Finding]:
    """Whether each hears the other. Of one half alone: whether the host that it leads to answers."""
    found: list[Finding] = []
    if backend and (hop := backend.settings.relay.gateway):
        name = gateway.settings.server.name if gateway else ""
        found += neighbour("backend", "[relay] gateway", hop, name, patience)
    if gateway:
        if hop := gateway.settings.relay.gateway:
            found += neighbour("gateway", "[relay] gateway", hop, "", patience)
        name = backend.settings.server.name if backend else ""
        for hop, because in dict(gateway.directory.hops.hops).items():
            greets = neighbour("gateway", str(because), hop, name, patience)
            found += greets
            if backend and gateway.settings.relay.verify and greets[0].state.value == "ok":
                found += verification(backend, hop, patience)
    return found


def verification(backend: Half, hop: Hop, patience: float = PATIENCE) -> list[Finding]:
    """Whether the back-end can be asked who is there, as the gateway asks it."""
    found = Findings("pair", "pair")
    account = next((account.address for account in backend.directory.accounts), None)
    if account is None:
        found.remark("whether the gateway can ask about recipients was not tried: there is no account")
        return found.all
    unknown = f"{NOBODY}@{account.domain}"
    try:
        with talk(hop, patience=patience) as open_:
            open_.say(f"EHLO {backend.settings.server.name}")
            asked = [open_.say(word) for word in ("MAIL FROM:<>", f"RCPT TO:<{account}>", f"RCPT TO:<{unknown}>")]
            open_.say("RSET")
    except OSError as error:
        found.wrong(f"{hop} ended the conversation about recipients: {error}", "look into the back-end's own log")
        return found.all
    if not asked[0].accepts or not asked[1].accepts:
        reply = next(one for one in asked if not one.accepts)
        said = f'the back-end at {hop}, asked about {account}, answers "{reply}"'
        if reply.code < 500:
            way = "look for a full disk, a full mailbox or a limit; the back-end's own log names what decided"
            found.wrong(f"{said}: not now, mail for him waits", way)
        else:
            way = "look into the back-end's own log, which names what decided"
            found.wrong(f"{said}: the gateway would refuse him", way)
    elif asked[2].accepts:
        found.remark(f"the back-end at {hop} takes mail for {unknown}: an alias catches all names")
    else:
        found.ok(f"the back-end at {hop} tells who is there and who is not")
    return found.all
