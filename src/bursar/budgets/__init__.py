"""Say what may be spent, by whom and in which window: rules over the ledger."""
