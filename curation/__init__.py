"""The ground floor: which images there are, and what is known about them."""

import os

# Read when torch is imported. By default its threads wait for each other in a busy loop, which
# holds the core that the awaited one needs as soon as anything else runs: on two cores with seven
# other busy processes a network trained 4 images a second, and 69 with threads that sleep.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
