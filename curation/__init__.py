"""The ground floor: which images there are, and what is known about them."""

import os

# Read when torch is imported. By default its threads wait for each other in a busy loop of 300,000
# turns, which holds the core that the awaited one needs as soon as anything else runs. Training on
# two cores, in images a second: alone 169 to 183 by default, as many with 20,000 turns and 142 to
# 162 without any; beside three busy programs 22 by default, 52 with 20,000 and 66 without.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
