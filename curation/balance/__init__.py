"""Balance: how labels are spread over classes and slices, what is missing, and what helps.

`describe` reports, `propose` works a remedy out, `apply` puts it in force and `clear` takes it
back. Training asks `weights` how much each label counts, and a round asks `quotas` what to choose
first.
"""

from curation.balance.plan import Options, Plan
from curation.balance.remedies import REMEDIES, propose
from curation.balance.report import describe
from curation.balance.standing import apply, clear
from curation.balance.weighing import class_weights, in_force, sets_weights, weights

__all__ = [
    "REMEDIES",
    "Options",
    "Plan",
    "apply",
    "class_weights",
    "clear",
    "describe",
    "in_force",
    "propose",
    "sets_weights",
    "weights",
]
