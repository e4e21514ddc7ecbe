"""Say the same with fewer tokens: first without loss, then by leaving out what the question does not need."""
