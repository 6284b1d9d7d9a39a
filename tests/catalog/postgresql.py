"""A private PostgreSQL for one test session, behind a socket in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGED = Path("/usr/lib/postgresql")
SYSTEM_USER = "postgres"  # the server refuses to run as root


def find_binaries() -> Path | None:
    """The folder of the newest installed server's programs."""
    found = sorted(PACKAGED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def running(binaries: Path) -> Iterator[str]:
    """A server for as long as the block runs; yields the address of its socket's folder."""
    folder = Path(tempfile.mkdtemp(prefix="labelloop-postgresql-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, SYSTEM_USER)
        data = folder / "data"
        _run(binaries / "initdb", "-D", data, "-U", "labelloop", "-A", "trust", "-E", "UTF8", "-N")
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={folder} "
            "-c fsync=off -c max_connections=40"
        )
        _run(binaries / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
        try:
            yield str(folder)
        finally:
            _run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: object) -> None:
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["runuser", "-u", SYSTEM_USER, "--", *words]
    # pg_ctl's server would keep a pipe open for as long as it runs.
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(words, stdout=said, stderr=said, cwd="/", check=False)
        if done.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(words)}: {said.read().decode(errors='replace')}")
