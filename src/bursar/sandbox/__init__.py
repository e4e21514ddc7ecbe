"""Simulate providers that speak the real protocols, with honest usage, prompt caches, latencies and faults."""
