"""One file a check: what was measured, why it matters, what to do."""
