"""The child process that Label Studio is: its port, its environment, its command line.

The environment is built from nothing but what is named here, so that a stray ``HOST``, ``PORT`` or
``DEBUG`` in the user's shell, which Label Studio would obey, cannot reach it.
"""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from curation.errors import InputError
from labeling.databases import Database

DEFAULT_PORT = 8080
PORTS_TRIED = 50
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# The one address of this machine that Label Studio may call, and where nothing but labelloop's own
# doorbell listens. Everybody with a log-in there can make it call something, and what is safe at
# 127.0.0.1 because only this machine reaches it (the app, a proxy's administration, a database)
# would not be any more. macOS has no loopback address but that one.
DOORBELL_HOST = "127.83.19.7" if sys.platform == "linux" else "127.0.0.1"
# What Label Studio bans by itself, except the loopback network.
BANNED_NETWORKS = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "233.252.0.0/24",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:0000::/32",
    "2001:20::/28",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
)
# A person who opens an image and goes away holds it for this long. The default of 24 hours would
# let one closed tab hold back an image for more than a round.
TASK_LOCK_SECONDS = 900
# What a child needs from the shell: where programs, libraries, certificates and temporary files
# are.
INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
)

FIXED_SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "labeling.serving_settings",
    "DJANGO_DB": "sqlite",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    # Nobody is called home to.
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "COLLECT_ANALYTICS": "0",
    "LATEST_VERSION_CHECK": "0",
    "FEATURE_FLAGS_OFFLINE": "1",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "1",
    "LABEL_STUDIO_TASK_LOCK_TTL": str(TASK_LOCK_SECONDS),
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "1",
    # Importing predictions for known tasks: 4.8 s instead of 13 to 21 s for 10,000.
    "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "1",
    # A doubly answered share of the tasks is a random one, not the first ones.
    "fflag_feat_utc_563_randomize_overlap_cohort": "1",
    "PYTHONUNBUFFERED": "1",
}


def banned_subnets() -> list[str]:
    """All that Label Studio must not call: what it bans by itself, except the doorbell's address.

    >>> len(banned_subnets()) - len(BANNED_NETWORKS)  # halves of halves around one address
    24
    """
    around = IPv4Network("127.0.0.0/8").address_exclude(IPv4Network(DOORBELL_HOST))
    return [*BANNED_NETWORKS, *map(str, around)]


def is_free(host: str, port: int) -> bool:
    """Whether `port` can be taken, seen as Label Studio sees it and as the system does.

    Label Studio tries to connect to localhost and silently goes to the next port when that
    succeeds.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def checked_port(host: str, port: int) -> int:
    """`port`, once it is known to be free.

    Raises:
        InputError: it is taken, or no port at all.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"{port} is not a port number. Use one from 1024 to 65535.")
    if not is_free(host, port):
        raise InputError(
            f"Port {port} on {host} is taken by another program. Choose another one, or leave the "
            "port out: then the next free one is used."
        )
    return port


def free_port(host: str) -> int:
    """The first free port from `DEFAULT_PORT` upwards.

    Raises:
        InputError: there is none within `PORTS_TRIED`.
    """
    for port in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TRIED):
        if is_free(host, port):
            return port
    raise InputError(
        f"No port from {DEFAULT_PORT} to {DEFAULT_PORT + PORTS_TRIED - 1} is free on {host}. "
        "Name a free one."
    )


def environment(
    folder: Path,
    *,
    email: str,
    password: str,
    token: str,
    public_url: str | None,
    database: Database | None = None,
) -> dict[str, str]:
    """All that the server's process gets to see, with the log-in that its first start creates."""
    made = {name: os.environ[name] for name in INHERITED if name in os.environ}
    made.update(FIXED_SETTINGS)
    if database is not None:
        # What libpq knows from the shell holds for the catalog, so it must hold here.
        made.update({name: said for name, said in os.environ.items() if name.startswith("PG")})
        made.update(database.variables())
    root = Path(__file__).resolve().parents[1]
    if "site-packages" not in root.parts:  # its settings are ours, in a tree not installed too
        made["PYTHONPATH"] = str(root)
    data = folder.resolve()
    made.update(
        LABEL_STUDIO_BASE_DATA_DIR=str(data),
        LABEL_STUDIO_USERNAME=email,
        LABEL_STUDIO_PASSWORD=password,
        LABEL_STUDIO_USER_TOKEN=token,
        LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=str(data / "served"),
    )
    excluded = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    loopback = ",".join([*LOOPBACK, DOORBELL_HOST, excluded]).rstrip(",")
    made.update(NO_PROXY=loopback, no_proxy=loopback)
    made.update(
        LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS="0",
        LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS=",".join(banned_subnets()),
    )
    if public_url is not None:
        # Label Studio has no setting for X-Forwarded-Proto. It does not need one: links are built
        # from LABEL_STUDIO_HOST, and forms are accepted from the trusted origin.
        parts = urlsplit(public_url)
        made.update(
            LABEL_STUDIO_HOST=public_url,
            CSRF_TRUSTED_ORIGINS=f"{parts.scheme}://{parts.netloc}",
        )
        if parts.scheme == "https":
            made.update(SESSION_COOKIE_SECURE="1", CSRF_COOKIE_SECURE="1")
    return made


def command(*, host: str, port: int, database: Database | None) -> list[str]:
    """The server's command line, by the interpreter that runs us, so that both are of one release.

    On SQLite it is Label Studio's own server, one process; on PostgreSQL it is gunicorn.

    Raises:
        InputError: gunicorn is not installed.
    """
    if database is not None:
        if importlib.util.find_spec("gunicorn") is None:
            raise InputError(
                "Label Studio on PostgreSQL runs under gunicorn, which is not installed. Run "
                '`pip install "labelloop[postgresql]"`.'
            )
        return [sys.executable, "-P", "-m", "labeling.serving", host, str(port)]
    script = Path(sys.executable).with_name("label-studio")
    found = (
        [str(script)] if script.exists() else [sys.executable, "-P", "-m", "label_studio.server"]
    )
    where = ("--port", str(port), "--internal-host", host)
    return [*found, "start", "--no-browser", *where, "--log-level", "WARNING"]


def launch(
    folder: Path, *, command: Sequence[str], settings: Mapping[str, str], log: Path
) -> psutil.Popen:
    """Start the server's process; its output goes to `log`, which only the owner can read."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)
    with log.open("ab") as output:
        return psutil.Popen(
            list(command),
            env=dict(settings),
            cwd=str(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal goes to the whole foreground group; the supervisor decides
            # instead.
            start_new_session=True,
        )
