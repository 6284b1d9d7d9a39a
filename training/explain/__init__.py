"""Why a model says what it says: heat over the picture, examples that it learned, its mistakes."""

from training.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]
