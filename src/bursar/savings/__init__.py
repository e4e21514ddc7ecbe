"""Spend less on a call, one module a lever, and prove that it did."""
