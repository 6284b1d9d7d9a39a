"""Runs in fastdup's own environment: a folder of images to pairs, with the time that it took.

    python fastdup_pairs.py FOLDER OUT.npz --threshold 0.9 --neighbours 2

The file holds `one` and `other`, names, and `closeness`, cosine similarity. Importing is not timed;
reporting to its makers is off, since waiting for a network is no work of its own.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

# Read while it is imported.
os.environ["SENTRY_OPT_OUT"] = "1"

import fastdup
import numpy as np


def cpu_seconds() -> float:
    """Of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def main() -> None:
    """Write the pairs to the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--neighbours", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        started, cpu = time.perf_counter(), cpu_seconds()
        dataset = fastdup.create(work_dir=work, input_dir=str(arguments.folder))
        dataset.run(
            overwrite=True,
            threshold=arguments.threshold,
            nearest_neighbors_k=arguments.neighbours,
        )
        found = dataset.similarity()
        took = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": cpu_seconds() - cpu,
        }
    np.savez(
        arguments.out,
        one=np.array([Path(name).name for name in found["filename_from"]]),
        other=np.array([Path(name).name for name in found["filename_to"]]),
        closeness=np.array(found["distance"], float),
        **took,
    )


if __name__ == "__main__":
    main()
