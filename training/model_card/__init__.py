"""The model card of a run: what it is for, what it learned, how good it is, where it must not go.

Its questions follow "Model Cards for Model Reporting" (Mitchell et al. 2019), its look the data
card's, its front matter the model cards of Hugging Face.
"""

from training.model_card.writing import write

__all__ = ["write"]
