"""The ground floor: which images there are, and what is known about them."""

import os

# Read when torch is imported. By default its threads wait for each other in a busy loop of 300,000
# turns, which holds the core that the awaited one needs as soon as anything else runs. Training
# lite0 at 64 pixels on two cores, images a second in two runs of 8 s alone and one beside three
# busy programs: by default 183, 169 and 22; with 20,000 turns 207, 183 and 52; with 5,000 turns
# 169, 156 and 62; with none 142, 162 and 66. So something between; 10,000 itself was not timed so.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
