"""Device profiles, probing, and the error tree that every package shares. Imports nothing of the other packages."""
