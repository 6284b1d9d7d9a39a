"""Search for settings: the space, its studies, their trials, what came of them."""
