"""A run: its folder, metrics, checkpoints and processes, W&B, and sweeps over runs."""
