"""The sample application A-001 and how it is drawn."""
