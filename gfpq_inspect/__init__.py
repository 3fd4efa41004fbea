"""Finds where, why and how much a network loses when it is quantized to GFPQ, layer by layer."""

__version__ = "0.1.0"
