"""Run the rules of leases, holds and settlements in random orders on a virtual clock, and check what must never break.

One interleaving is one seeded schedule of steps in a small world: a few budgets that calls share, two or three
gateways, one database. Whatever decides about money is the shipped code: purses, leases, slices, settlements, the
journal's groups, the ledger's rules. What is simulated is what lies between: messages, the spool's file, the
database's tables, the clock, and death.
"""
