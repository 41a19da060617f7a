"""One file a command group; ``edge.cli`` puts them together."""
