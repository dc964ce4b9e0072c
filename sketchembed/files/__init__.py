"""Read files of unknown origin within limits, and write whole files."""
