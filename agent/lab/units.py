"""The lab's servers as services of systemd: what deploy/lab holds, made here so that both start them alike. Pure.

edge-lab-minio.service      the store
edge-lab-mosquitto.service  the broker
edge-lab-accounts.service   makes bucket, rules and accounts each time that the store has started
"""

from __future__ import annotations

DIRECTORY = "/var/lib/edge-lab"
AGENT, MINIO, MOSQUITTO = "/usr/bin/edge-agent", "/usr/local/bin/minio", "/usr/sbin/mosquitto"

# What neither server needs.
_HARDENED = """\
User=edge-lab
Group=edge-lab
UMask=0077
StateDirectory=edge-lab
StateDirectoryMode=0700
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# Go raises its limit of open files when it starts, and lives without.
SystemCallErrorNumber=EPERM
"""


def units() -> dict[str, str]:
    """Return the text of each unit by its name."""
    return {
        "edge-lab-minio.service": _server(
            "the store of an offline lab (MinIO)",
            f"{MINIO} server {DIRECTORY}/minio --address ${{MINIO_LISTENS}} --certs-dir {DIRECTORY}/certificates",
            f"EnvironmentFile={DIRECTORY}/minio.env\nEnvironment=HOME={DIRECTORY}\nLimitNOFILE=65536\n"
            "# It asks the kernel for the addresses of this machine, and ends when it may not.\n"
            "RestrictAddressFamilies=AF_NETLINK\n",
        ),
        "edge-lab-mosquitto.service": _server(
            "the broker of an offline lab (Mosquitto)",
            f"{MOSQUITTO} -c {DIRECTORY}/mosquitto/mosquitto.conf",
            "ExecReload=/bin/kill -HUP $MAINPID\n",
        ),
        "edge-lab-accounts.service": f"""\
[Unit]
Description=Bucket and accounts of an offline lab
Requires=edge-lab-minio.service
After=edge-lab-minio.service
PartOf=edge-lab-minio.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={AGENT} lab accounts --dir {DIRECTORY}
{_HARDENED}
[Install]
WantedBy=multi-user.target
""",
    }


def _server(description: str, command: str, more: str) -> str:
    return f"""\
[Unit]
Description={description[0].upper()}{description[1:]}
Wants=network-online.target
After=network-online.target
# Until `edge-agent lab files` has written what it needs there is nothing to serve.
ConditionPathExists={DIRECTORY}/lab.json

[Service]
ExecStart={command}
{more}MemoryDenyWriteExecute=yes
Restart=on-failure
RestartSec=2s
{_HARDENED}
[Install]
WantedBy=multi-user.target
"""
