"""Active learning: the round that chooses what people label next, and its simulation."""
