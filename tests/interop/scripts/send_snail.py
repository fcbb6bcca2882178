"""
s-nail: arguments port, sender, recipients; the message on standard input.

It writes messages and does not pass them on: it gets the text, the subject and the attachments, and makes its own.
"""

import email
import email.policy
import subprocess
import sys
from pathlib import Path

where, sender, *recipients = sys.argv[1:]
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
text = message.get_body(("plain",))
assert text is not None
options = ["-s", str(message["Subject"]), "-r", sender]
for part in message.iter_attachments():
    name = Path(str(part.get_filename())).name
    Path(name).write_bytes(part.get_content())
    options += ["-a", name]
port, *login = where.split("/")
settings = ["v15-compat", "sendwait", "expandaddr"]
if login:
    way, mechanism, password = login
    scheme, user = ("smtps" if way == "tls" else "smtp"), sender.replace("@", "%40")
    settings += [f"mta={scheme}://{user}:{password}@127.0.0.1:{port}", f"smtp-auth={mechanism.lower()}"]
    settings += ["tls-verify=ignore", *(["smtp-use-starttls"] if way == "starttls" else [])]
else:
    settings += [f"mta=smtp://127.0.0.1:{port}", "smtp-auth=none"]
# As Japanese programs do: ISO-2022-JP where that can write it. Without encoding=8bit it would hide octets above 127.
settings += ["ttycharset=utf-8", "sendcharsets=iso-2022-jp,utf-8", "encoding=8bit"]
for setting in settings:
    options += ["-S", setting]
done = subprocess.run(["s-nail", "-:/", *options, "-.", *recipients], input=text.get_content().encode())
sys.exit(done.returncode)
