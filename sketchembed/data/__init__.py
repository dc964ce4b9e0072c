"""Data: from published files to batches on the device."""
