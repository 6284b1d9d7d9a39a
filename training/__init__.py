"""timm models, evaluation, strategies, and the active-learning round."""
