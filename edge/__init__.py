"""What runs in a branch: the command line, bundles, and the scoring of applications."""
