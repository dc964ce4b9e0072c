"""How pen strokes cluster by the states of the hyper-network."""
