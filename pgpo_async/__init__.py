"""Asynchronous RL of vision-language models with Perception-Grounded Policy Optimization."""

__version__ = "0.1.0"
