"""Replay traffic through a modelled serving system on a virtual clock: requests in, latencies and use of memory out."""
