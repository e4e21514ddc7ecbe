"""Serve files and batches: held for when they are made, charged once their results exist."""
