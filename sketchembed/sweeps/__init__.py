"""Sweeps: W&B's sweep files run here, without an account."""
