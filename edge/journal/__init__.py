"""The journal: everything that a device decided, in a chain that shows every change (docs/journal.md)."""
