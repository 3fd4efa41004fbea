"""Tensors that another program wrote, layer by layer: nnie_mapper, RuyiStudio, a board, a simulator, NumPy."""
