"""The data card: what is in a dataset, how it was made, and where it must not be trusted.

Its questions follow "Datasheets for Datasets" (Gebru et al. 2021), its front matter the dataset
cards of Hugging Face.
"""

from curation.card.writing import Card, write

__all__ = ["Card", "write"]
