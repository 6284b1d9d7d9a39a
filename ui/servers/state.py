"""Which servers of a workspace run: `logs/servers.json`, which holds no secrets."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from curation import files
from curation.errors import InputError
from curation.workspace import Workspace
from labeling import process
from ui.jobs import processes
from ui.jobs.processes import ProcessId

STATE = "servers.json"
LOCK = "supervisor.lock"
HOST = "127.0.0.1"
PORTS_TRIED = 50


@dataclass(frozen=True)
class State:
    """What the supervisor has started.

    Attributes:
        supervisor: the process that watches over the others.
        app_url: where the app is, for people.
        label_studio_url: where Label Studio is, for people.
        children: the supervised processes by name.
        ports: where those that listen do so on this machine, by name.
        ready: all of them have been healthy.
    """

    supervisor: ProcessId
    app_url: str = ""
    label_studio_url: str = ""
    children: dict[str, ProcessId] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    ready: bool = False


def read(workspace: Workspace) -> State | None:
    """What was last written; its processes may have ended since."""
    try:
        stored = json.loads((workspace.path / "logs" / STATE).read_text(encoding="utf-8"))
        supervisor = processes.parse(stored["supervisor"])
        if supervisor is None:
            return None
        children = {name: processes.parse(found) for name, found in stored["children"].items()}
        return State(
            supervisor=supervisor,
            app_url=str(stored["app_url"]),
            label_studio_url=str(stored["label_studio_url"]),
            children={name: found for name, found in children.items() if found},
            ports={name: int(port) for name, port in stored.get("ports", {}).items()},
            ready=bool(stored["ready"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(workspace: Workspace, state: State) -> None:
    """Replaces what was written before."""
    files.write_json(workspace.folder("logs") / STATE, asdict(state))


def forget(workspace: Workspace) -> None:
    """Nothing runs any more."""
    (workspace.path / "logs" / STATE).unlink(missing_ok=True)


def up(workspace: Workspace) -> State | None:
    """The state of a supervisor that runs now, also while it is still starting."""
    found = read(workspace)
    return found if found and processes.living(found.supervisor) else None


def left_over(workspace: Workspace) -> list[psutil.Process]:
    """Servers that outlived their supervisor, because it was killed."""
    found = read(workspace)
    if found is None or processes.living(found.supervisor):
        return []
    living = (processes.living(child) for child in found.children.values())
    return [one for one in living if one]


def free_port(asked: int | None, *, default: int) -> int:
    """The port that was asked for, or the first free one from the default upwards.

    Raises:
        InputError: what was asked for is taken or no port, or none is free.
    """
    if asked is not None:
        if not 1 <= asked <= 65535:
            raise InputError(f"{asked} is not a port number. Use one from 1024 to 65535.")
        if not process.is_free(HOST, asked):
            raise InputError(
                f"Port {asked} is taken by another program. Choose another one, or leave it out: "
                "then the next free one is used."
            )
        return asked
    for port in range(default, default + PORTS_TRIED):
        if process.is_free(HOST, port):
            return port
    raise InputError(
        f"No port from {default} to {default + PORTS_TRIED - 1} is free. Name a free one."
    )


def log_file(workspace: Workspace, name: str) -> Path:
    """Where the output of a server goes."""
    return workspace.folder("logs") / f"{name}.log"


def plain(state: State) -> dict[str, Any]:
    """The state as the command line prints it."""
    return {
        "app": state.app_url,
        "label_studio": state.label_studio_url,
        "processes": {name: found.pid for name, found in state.children.items()},
        "supervisor": state.supervisor.pid,
    }
