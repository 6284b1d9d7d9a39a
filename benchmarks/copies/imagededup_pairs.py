"""Runs in imagededup's own environment: a folder of images to pairs, with the time that it took.

    python imagededup_pairs.py FOLDER OUT.npz --threshold 10

The file holds `one` and `other`, names, and `closeness`, minus the Hamming distance of PHash's 64
bits. Importing is not timed.
"""

import argparse
import logging
import resource
import time
from pathlib import Path

import numpy as np
from imagededup.methods import PHash


def cpu_seconds() -> float:
    """Of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both)


def main() -> None:
    """Write the pairs to the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threshold", type=int, default=10)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    started, cpu = time.perf_counter(), cpu_seconds()
    hasher = PHash(verbose=False)
    codes = hasher.encode_images(image_dir=arguments.folder)
    found = hasher.find_duplicates(
        encoding_map=codes, max_distance_threshold=arguments.threshold, scores=True
    )
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds() - cpu}
    pairs = [
        (name, other, distance)
        for name, others in found.items()
        for other, distance in others
        if name < other
    ]
    one, other, distance = zip(*pairs, strict=True) if pairs else ((), (), ())
    np.savez(
        arguments.out,
        one=np.array(one, str),
        other=np.array(other, str),
        closeness=-np.array(distance, float),
        **took,
    )


if __name__ == "__main__":
    main()
