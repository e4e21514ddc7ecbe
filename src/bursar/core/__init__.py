"""Hold the values every room speaks in: money, usage, calls, ids and errors. Imports no other room."""
