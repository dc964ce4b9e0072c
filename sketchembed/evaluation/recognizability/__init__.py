"""Whether classifiers recognise the drawings of a model."""
