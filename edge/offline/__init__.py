"""Deciding without the line to headquarters: what a device may still decide, and how it catches up."""
