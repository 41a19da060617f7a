"""Slots, the switch between them, and what starts a device: from a bare box to a serving one, and back."""
