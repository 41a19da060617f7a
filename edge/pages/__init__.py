"""The pages that people in a branch see."""
