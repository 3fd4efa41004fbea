"""Recovering precision: folding and quantizing weights into files, Quant layers, fine-tuning with a float master."""
