"""
The units of systemd: those of etc/systemd, with the paths and the user of this machine.
"""

from epost.control.setup.plan import CONFIGURATION, STATE, Plan

SERVICE = "/opt/epost/bin/twistd"

UNIT = """\
[Unit]
Description=epost WHAT
After=network-online.target nss-lookup.target
Wants=network-online.target

[Service]
User=epost
StateDirectory=epost
StateDirectoryMode=0700
ExecStartPre=/opt/epost/bin/twistd epost-HALF --config /etc/epost/HALF.toml --check
ExecStart=/opt/epost/bin/twistd --nodaemon --pidfile= epost-HALF --config /etc/epost/HALF.toml
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5s
TimeoutStopSec=60s
LimitNOFILE=65536

# Port 25 without root, and nothing else.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0027

[Install]
WantedBy=multi-user.target
"""


def unit(plan: Plan, half: str, user: str) -> str:
    """One of them. @param half: C{backend} or C{gateway}."""
    what = {
        "backend": "back-end, the mail server with mailboxes",
        "gateway": "gateway, the mail server in front of a back-end",
    }
    text = UNIT.replace("WHAT", what[half]).replace("HALF", half)
    text = text.replace(SERVICE, plan.twistd).replace(CONFIGURATION, plan.folder).replace("User=epost", f"User={user}")
    if plan.data != STATE:
        text = text.replace("StateDirectory=epost\nStateDirectoryMode=0700", f"ReadWritePaths={plan.data}")
    return text
