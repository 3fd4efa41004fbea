"""Recovering precision: closed-form steps and fine-tuning with a float master, with or without labels."""
