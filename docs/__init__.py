"""The documents, and what writes those of them that say what the code says."""
