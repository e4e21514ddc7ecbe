"""Bursar, the treasurer for AI: exact prices, budgets nobody can overspend, books that balance."""

__version__ = "0.1.0"
