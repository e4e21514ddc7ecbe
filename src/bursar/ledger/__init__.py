"""Keep the books' rules: accounts, transfers, holds and leases as a state machine without I/O."""
