"""Search for drawings by the embedding."""
