"""Choose the model of a call: the cheapest that is good enough, fast enough and able."""
