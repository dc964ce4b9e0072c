"""Results over the runs of a sweep."""
