"""Few-shot classification by the embedding (paper section 4.1)."""
