"""Classifiers on cached embeddings: a linear head, an MLP, and predictions out of fold."""
