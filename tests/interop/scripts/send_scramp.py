"""
scramp over Python's smtplib: arguments port, sender, recipients; the message on standard input.

Behind the port stand way, mechanism and password, then the version of TLS and the channel binding that this client has:
its name, C{another} for one of another connection, or nothing.
"""

import smtplib
import ssl
import sys

import scramp

where, sender, *recipients = sys.argv[1:]
port, way, mechanism, password, version, kind = where.split("/")
content = sys.stdin.buffer.read()
secure = ssl._create_unverified_context()
secure.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]


class Talk:
    """What smtplib asks at each step. Without a mechanism it is told that the server has but the one."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        binding = (kind, connection) if kind else None
        if kind == "another":
            binding = ("tls-server-end-point", bytes(32))
        self._client = scramp.ScramClient([mechanism], sender, password, channel_binding=binding)

    def __call__(self, challenge: bytes | None = None) -> str:
        said = (challenge or b"").decode()
        if said.startswith("r="):
            self._client.set_server_first(said)
            return self._client.get_client_final()
        if said.startswith("v="):
            self._client.set_server_final(said)  # raises unless the server knows the password too
            return ""
        return self._client.get_client_first()


try:
    kinds = {"context": secure} if way == "tls" else {}
    with (smtplib.SMTP_SSL if kinds else smtplib.SMTP)("127.0.0.1", int(port), timeout=30, **kinds) as client:
        if way == "starttls":
            client.starttls(context=secure)
        client.ehlo()
        client.user, client.password = sender, password
        client.auth(mechanism, client.auth_plain if mechanism == "PLAIN" else Talk(client.sock))
        refused = client.sendmail(sender, recipients, content)
except (smtplib.SMTPException, scramp.ScramException) as fault:
    sys.exit(str(fault))
if refused:
    sys.exit(str(refused))
