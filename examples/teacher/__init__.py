"""The demonstration's teacher: how it was trained, and its weights."""
