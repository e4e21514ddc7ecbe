"""Be a program's way to a running Bursar: keys, budgets, charges, outcomes, statements, in the API's own types."""
