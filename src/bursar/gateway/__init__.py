"""Be the data plane: identify, plan, hold, attempt, settle. Light, on raw ASGI."""
