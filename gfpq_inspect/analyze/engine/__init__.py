"""Engines: what runs all lanes of a batch side by side and measures them."""
