"""Fuzzing of every reader: whole files of strangers, broken in ways that reach deep."""
