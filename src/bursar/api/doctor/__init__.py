"""Look at everything calls depend on: for `bursar doctor`, and for its page."""
