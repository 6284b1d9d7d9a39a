"""Label Studio as a child process: start it, prove that it is ours, find it again, stop it.

Everything lives in one folder of the workspace::

    label-studio/
        credentials.json    e-mail, password and token, mode 0600, made at the first start
        server.json         address and process of the running server, no secrets
        served/<name>       links to folders of images, the only files that it may show
        label_studio.sqlite3    its own data, unless that is in PostgreSQL
        media/ ...          files of its own

The server is run, never imported.
"""

import json
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from curation.errors import InputError, LabelStudioError, LabelStudioRefused, LabelStudioUnreachable
from labeling import connection, databases, process, transport

logger = logging.getLogger(__name__)

EMAIL = "labelloop@localhost"
CREDENTIALS = "credentials.json"
SQLITE = "label_studio.sqlite3"
START_SECONDS = 240.0


@dataclass(frozen=True)
class Credentials:
    """The administrator that the first start creates."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True)
class ServerAddress:
    """Where a running server is.

    Attributes:
        url: for programs on this machine, without a trailing slash.
        pid: its process.
        public_url: for people at other computers; the same as `url` where none was given.
    """

    url: str
    pid: int
    public_url: str


class Server:
    """A running Label Studio, started here or found through its `server.json`."""

    def __init__(self, folder: Path, address: ServerAddress, handle: psutil.Process) -> None:
        self.folder = folder
        self.address = address
        self._handle = handle

    @property
    def url(self) -> str:
        """The address for programs on this machine."""
        return self.address.url

    @property
    def public_url(self) -> str:
        """The address for people."""
        return self.address.public_url

    def alive(self) -> bool:
        """Whether its process still runs."""
        return _alive(self._handle)

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """End the process, politely first; does nothing when it has ended already.

        SIGINT lets it close its sockets, but a shell that put us into the background makes children
        ignore SIGINT, hence SIGTERM before SIGKILL. SQLite survives all three.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with suppress(psutil.NoSuchProcess):
                self._handle.send_signal(number)
            # Waiting also clears away a child that had ended before.
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                self._handle.wait(timeout=grace_seconds if number == signal.SIGINT else 3.0)
            if not self.alive():
                break
        for left in _left_behind(self.address.pid):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        (self.folder / "server.json").unlink(missing_ok=True)


def start(
    folder: Path,
    *,
    log: Path,
    port: int | None = None,
    host: str = "127.0.0.1",
    public_url: str | None = None,
    database_url: str | None = None,
    start_seconds: float = START_SECONDS,
) -> Server:
    """Start Label Studio on the data in `folder` and wait until it has proved its identity.

    Args:
        folder: its data folder; made, with new credentials, where there is none.
        log: the file that its output is appended to.
        port: exactly this port, or the first free one from 8080 upwards.
        host: the interface it listens on.
        public_url: the address under which people reach it through a proxy, for example
            ``https://labels.example.org``. The proxy must pass the ``Host`` header on.
        database_url: of a PostgreSQL database of its own, in which it keeps its data then, served
            by gunicorn. An SQLite file in `folder` otherwise.
        start_seconds: how long the first answer may take; a first start migrates for up to a
            minute.

    Raises:
        InputError: the port is taken, or an argument cannot be used.
        LabelStudioError: it ended, did not become healthy in time, or another server answered.
    """
    database = None if database_url is None else databases.parsed(database_url)
    public_url = _checked_public_url(public_url)
    folder = folder.resolve()  # what is served must lie below it by its name
    found = attach(folder)
    if found is not None:
        raise LabelStudioError(
            f"Label Studio already runs at {found.url} (process {found.address.pid}) on {folder}. "
            "Use it, or stop it first with `labelloop down`."
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "served").mkdir(exist_ok=True)
    credentials = _made_credentials(folder)
    chosen = process.free_port(host) if port is None else process.checked_port(host, port)
    settings = process.environment(
        folder,
        email=credentials.email,
        password=credentials.password,
        token=credentials.token,
        public_url=public_url,
        database=database,
    )
    command = process.command(host=host, port=chosen, database=database)
    child = process.launch(folder, command=command, settings=settings, log=log)
    url = f"http://{_reachable(host)}:{chosen}"
    server = Server(folder, ServerAddress(url, child.pid, public_url or url), child)
    try:
        # Before anything is waited for: if we are killed now, the next start must find the child.
        _write_state(server)
        _await_health(server, log=log, seconds=start_seconds)
        _prove_identity(url, credentials, folder=folder)
        _prove_listening(server, port=chosen)
    except BaseException:
        server.stop(grace_seconds=3.0)
        raise
    logger.info("Label Studio answers at %s (process %d)", url, child.pid)
    return server


def running(folder: Path) -> ServerAddress | None:
    """The server on this folder that another process may have started, or None.

    The process in `server.json` must be alive, be the same one (by its start time, since process
    ids are used again), and answer.
    """
    server = attach(folder)
    if server is None or not transport.is_healthy(server.url):
        return None
    return server.address


def attach(folder: Path) -> Server | None:
    """The living server process on this folder, answering or not: what `Server.stop` needs."""
    try:
        state = json.loads((folder / "server.json").read_text(encoding="utf-8"))
        address = ServerAddress(str(state["url"]), int(state["pid"]), str(state["public_url"]))
        handle = psutil.Process(address.pid)
        same = abs(handle.create_time() - float(state["started"])) < 2.0
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return Server(folder, address, handle) if same and _alive(handle) else None


def credentials_in(folder: Path) -> Credentials:
    """The log-in of the server on this folder.

    Raises:
        LabelStudioError: there is none, or it cannot be read.
    """
    path = folder / CREDENTIALS
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(
            email=str(stored["email"]), password=str(stored["password"]), token=str(stored["token"])
        )
    except FileNotFoundError:
        raise LabelStudioError(
            f"There are no credentials at {path}. Start Label Studio once with `labelloop up`."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelStudioError(
            f"The credentials at {path} cannot be read ({type(error).__name__}). "
            "Restore the file from a backup."
        ) from error


def serve_folder(folder: Path, name: str, target: Path) -> Path:
    """Let the server show the images below `target`, without copying, under ``served/<name>``.

    Returns:
        The link, which is the path that `Connection.add_local_storage` wants.

    Raises:
        InputError: the name cannot be used or is taken, `target` is not a folder, contains the
            server's own data, or holds links that lead out of it: Label Studio would follow them.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise InputError(f"{name!r} cannot be the name of a served folder. Use letters and digits.")
    if not target.is_dir():
        raise InputError(f"{target} is not a folder. Label Studio can only show existing folders.")
    root = target.resolve()
    if folder.resolve().is_relative_to(root):
        raise InputError(
            f"{target} contains Label Studio's own data in {folder}, passwords included. "
            "Move the images into a folder of their own."
        )
    for link in _links(root):
        if not link.resolve().is_relative_to(root):
            raise InputError(
                f"{link} is a link that leads out of {target} to {link.resolve()}, and Label "
                "Studio would follow it. Replace the link by the file, or import with --copy."
            )
    served = folder.resolve() / "served"
    served.mkdir(parents=True, exist_ok=True)
    place = served / name
    if place.is_symlink() and place.exists() and place.resolve() != root:
        raise InputError(f"{name} is already served from {place.resolve()}. Choose another name.")
    fresh = served / f".{name}.{secrets.token_hex(4)}"
    fresh.symlink_to(root, target_is_directory=True)
    fresh.replace(place)
    return place


def _links(root: Path) -> Iterator[Path]:
    """All symbolic links below `root`, one folder in memory at a time, none of them followed."""
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))


def _alive(handle: psutil.Process) -> bool:
    try:
        return bool(handle.is_running() and handle.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _left_behind(pid: int) -> list[psutil.Process]:
    """What a server that has ended started, and that has not ended with it.

    The server leads a session of its own, and the system gives its number to nobody else for as
    long as there is anything left of that session.
    """
    if psutil.pid_exists(pid):
        return []
    found = []
    for one in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(one.pid) == pid:
                found.append(one)
    return found


def _checked_public_url(public_url: str | None) -> str | None:
    if public_url is None:
        return None
    parts = urlsplit(public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            f"{public_url!r} is not a web address. Give for example https://labels.example.org"
        )
    return public_url.rstrip("/")


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


def _made_credentials(folder: Path) -> Credentials:
    if (folder / CREDENTIALS).exists():
        return credentials_in(folder)
    made = Credentials(EMAIL, secrets.token_urlsafe(18), secrets.token_hex(20))
    _write_json(
        folder / CREDENTIALS,
        {"email": made.email, "password": made.password, "token": made.token},
    )
    return made


def _write_json(path: Path, content: dict[str, object]) -> None:
    """Write so that only the owner can read, and a kill leaves the old file or the new one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _write_state(server: Server) -> None:
    address = server.address
    started = psutil.Process(address.pid).create_time()
    _write_json(
        server.folder / "server.json",
        {
            "url": address.url,
            "pid": address.pid,
            "public_url": address.public_url,
            "started": started,
        },
    )


def _await_health(server: Server, *, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not server.alive():
            raise LabelStudioError(
                f"Label Studio ended while it was starting. {_last_line(log)}See {log}."
            )
        if transport.is_healthy(server.url):
            return
        time.sleep(0.2)
    raise LabelStudioUnreachable(
        f"Label Studio did not answer at {server.url} within {seconds:.0f} s. See {log}."
    )


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    said = [line for line in lines if line]
    return f"It said: {said[-1][:200]} " if said else ""


def _prove_listening(server: Server, *, port: int) -> None:
    """Make sure that the answer came from our process: a copied folder has the same log-in.

    Label Studio silently takes another port where its own was taken in the meantime.
    """
    with suppress(psutil.NoSuchProcess):
        ours = [server._handle, *server._handle.children(recursive=True)]
        listening = {
            found.laddr.port
            for one in ours
            for found in one.net_connections(kind="tcp")
            if found.status == psutil.CONN_LISTEN
        }
        if port in listening:
            return
    raise LabelStudioError(
        f"Another server answers at {server.url}: it took the port while Label Studio was "
        "starting. Start again, or choose another port."
    )


def _prove_identity(url: str, credentials: Credentials, *, folder: Path) -> None:
    """Make sure that the server at `url` is the one just started: it must know our token."""
    try:
        if transport.legacy_tokens_disabled(url, credentials.token):
            transport.enable_legacy_tokens(url, credentials.email, credentials.password)
        with connection.connect(url, credentials.token) as opened:
            user = opened.whoami()
    except LabelStudioRefused as error:
        raise LabelStudioError(
            f"The Label Studio at {url} does not know the log-in in "
            f"{folder / 'credentials.json'}. Either another server took the port, or the file does "
            "not belong to the database beside it: choose another port, or restore the file from a "
            "backup."
        ) from error
    if user.email != credentials.email:
        raise LabelStudioError(
            f"The Label Studio at {url} knows our token as {user.email}, not as "
            f"{credentials.email}. Another server took the port: choose another one."
        )
