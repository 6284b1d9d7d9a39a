"""What the C library does with memory that a step of training gave back."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of malloc.h
_LARGEST = 2**30


def keep_freed() -> bool:
    """Keeps what is freed for the next step, in this process and for good.

    Each step asks for tensors of the same sizes again. By default the large ones come from the
    system and go back to it, and every page of them is cleared once more at its first touch.

    Returns:
        Whether that could be said: only the GNU C library listens.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
