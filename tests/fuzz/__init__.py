"""Fuzz every reader of files with mutated copies of valid files."""
