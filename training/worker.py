"""One of several processes that fine-tune together.

    torchrun --nproc-per-node 2 -m training.worker WORKSPACE PROJECT RUN

On several machines torchrun gets `--nnodes`, `--node-rank` and `--rdzv-endpoint` as well, and the
workspace lies on a disk that all of them see. What `distributed.launch` reads from standard output
is a JSON object a line: `{"done":, "total":, "says":}`, or `{"error":, "says":}` at the end.
"""

import argparse
import json
import os
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

from curation import workspace
from curation.errors import LabelloopError
from curation.progress import silent
from training import fitting, runs
from training.finetuning import distributed


def main() -> int:
    """Take part in a run's training; 1 for what a user can mend, as the command line does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("project")
    parser.add_argument("run")
    parser.add_argument("--with-parent", action="store_true", help="End when standard input ends.")
    options = parser.parse_args()
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        project = workspace.project(workspace.open(options.workspace), options.project)
        with distributed.group():
            first = distributed.rank() == 0
            # A parent holds the run for its processes.
            held = first and not options.with_parent
            with runs.alone(project, options.run) if held else nullcontext():
                fitting.fit(project, options.run, report=_tell if first else silent)
    except LabelloopError as error:
        _write(error=type(error).__name__, says=str(error))
        return 1
    return 0


def _tell(done: int, total: int, says: str) -> None:
    _write(done=done, total=total, says=says)


def _write(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """A training whose parent was killed would go on beside the one that resumes it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
