"""Be what the API takes and gives, as types a client shares: no more is loaded with them than their words.

Money is a decimal string of USD; shares are of 1; times are ISO 8601, UTC.
"""
