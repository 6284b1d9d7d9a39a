"""The ground floor: which images there are, and what is known about them."""
