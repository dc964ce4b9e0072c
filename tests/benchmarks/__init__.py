"""Benchmarks: the fast code timed against plain versions in one process."""
