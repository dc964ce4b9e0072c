"""Weights & Biases: runs that no network can break, and the project's dashboard as code."""
