"""Invented loan statements: a hand-written set and a grammar that makes more."""
