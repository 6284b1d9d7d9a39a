"""The supervisor without a terminal: `python -m ui.servers --workspace DIR`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from curation import workspace as workspaces
from curation.errors import LabelloopError
from ui.servers import signals, supervisor

logger = logging.getLogger("ui.servers")


def main(argv: Sequence[str] | None = None) -> int:
    """Starts the servers and watches over them until SIGTERM."""
    parser = argparse.ArgumentParser(prog="ui.servers", description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--app-port", type=int)
    parser.add_argument("--label-studio-port", type=int)
    parser.add_argument("--public-url", default="")
    parser.add_argument("--app-script", type=Path, default=supervisor.APP)
    given = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    # Every request that waits for health would be a line.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    workspace = workspaces.open(given.pop("workspace"))
    options = supervisor.Options(**given)
    try:
        with (
            signals.interruptible(),
            supervisor.start(workspace, options, tell=logger.info) as running,
        ):
            logger.info("Up: %s and %s", running.app_url, running.label_studio_public_url)
            running.watch()
    except KeyboardInterrupt:
        logger.info("Stopped.")
    except LabelloopError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
