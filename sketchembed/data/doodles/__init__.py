"""Doodles."""
