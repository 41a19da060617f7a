"""Invented papers and how they are drawn."""
