"""Accuracy on held-out prompts."""

from pgpo_async.evaluation.accuracy import Accuracy, average_accuracy

__all__ = ["Accuracy", "average_accuracy"]
