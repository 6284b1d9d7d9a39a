"""The servers of a workspace: Label Studio, the job worker and the app, under one supervisor.

`start` is what `labelloop up` and `labelloop demo` call::

    with servers.start(workspace, servers.Options(), tell=print) as running:
        ...                     # all healthy: running.app_url, running.label_studio_url
        running.watch()         # until Ctrl-C; the block's end stops all of them
"""

from ui.servers.background import NAMES, detach, down, follow, tail
from ui.servers.external import External, remembered
from ui.servers.signals import interruptible
from ui.servers.state import State, up
from ui.servers.supervisor import Options, Running, log_in, start

__all__ = [
    "NAMES",
    "External",
    "Options",
    "Running",
    "State",
    "detach",
    "down",
    "follow",
    "interruptible",
    "log_in",
    "remembered",
    "start",
    "tail",
    "up",
]
