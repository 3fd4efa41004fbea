"""Comparisons in which a dump takes the place of a network."""
