"""Fit what ships as coefficients, and score it on what was left out."""
