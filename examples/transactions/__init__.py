"""Invented account histories."""
