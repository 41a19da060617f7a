"""Updates by The Update Framework: the repository that a bank signs, and the client on a device (docs/update.md)."""
