"""Be the control plane's API: what was spent, by whom, and each call in full, as JSON with an OpenAPI description."""
