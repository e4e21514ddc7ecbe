"""Turn text into vectors: by a small static table that ships with Bursar, or by a bigger model somebody brings."""
