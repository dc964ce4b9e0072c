"""Generated drawings of simple things, for tests and for a first run without data."""
