"""How fast everything is, beside plain versions of the same, in one process."""
