"""Remedies that are tried, not guessed: each is a changed second model, measured against the float network."""
