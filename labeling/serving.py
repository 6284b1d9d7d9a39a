"""Label Studio for a team, on PostgreSQL under gunicorn: the program of its own process.

    python -m labeling.serving HOST PORT

It brings the database up to date and makes the administrator, as `label-studio start` would do, and
is gunicorn from then on. Nothing of labelloop imports it.
"""

import socket
import sys

# Two processes, since Python computes in one thread at a time; the threads wait for PostgreSQL.
WORKERS = 2
THREADS = 8
# An import of 2,500 tasks with pre-labels takes seconds, an export of a large project minutes.
TIMEOUT_SECONDS = 300
GRACE_SECONDS = 8
BACKLOG = 128


def main() -> None:
    """Prepares the database and serves until it is told to end."""
    host, port = sys.argv[1:]
    # Taken before the database is looked at, which takes seconds: who comes meanwhile waits.
    listening = socket.create_server((host, int(port)), backlog=BACKLOG)
    sys.argv = ["label-studio", "init", "--quiet", "--log-level", "WARNING"]
    from label_studio import server

    server.main()
    sys.stdout.flush()
    from django.db import connections

    # The processes that serve are copies of this one, and must not talk through one connection.
    connections.close_all()
    from gunicorn.app.wsgiapp import run

    sys.argv = ["gunicorn", *arguments(listening.fileno())]
    run()


def arguments(listening: int) -> list[str]:
    """What gunicorn is told.

    Args:
        listening: the descriptor of the socket that it answers at.
    """
    return [
        "core.wsgi:application",
        *("--bind", f"fd://{listening}"),
        *("--workers", str(WORKERS), "--threads", str(THREADS)),
        *("--timeout", str(TIMEOUT_SECONDS), "--graceful-timeout", str(GRACE_SECONDS)),
        # Label Studio is loaded already: once for all processes.
        "--preload",
        # The data manager puts its filters into the address.
        *("--limit-request-line", "0"),
        *("--log-level", "warning", "--no-control-socket"),
    ]


if __name__ == "__main__":
    main()
