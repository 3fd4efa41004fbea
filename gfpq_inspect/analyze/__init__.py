"""Lanes run side by side, measured as they run, to one Result."""
