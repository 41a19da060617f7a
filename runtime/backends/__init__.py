"""One file a backend. Third-party errors are translated here and nowhere else."""
