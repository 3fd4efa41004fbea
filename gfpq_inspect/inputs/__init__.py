"""Arrays and images to batches of samples with identities."""
