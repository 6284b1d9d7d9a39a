"""Weak supervision: rules that vote for classes, and what their votes come to.

- `definitions`: what a rule is, in TOML and in Python
- `fields`: what rules may look at
- `conditions`, `votes`: asking every rule about every image
- `report`: coverage, overlaps, conflicts, accuracy by people's labels
- `label_model`: from votes to probabilities
- `applying`: putting rules in force
"""
