"""Renderers: pure functions of a Result."""
