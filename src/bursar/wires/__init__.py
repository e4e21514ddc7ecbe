"""Speak the providers' protocols: one file a protocol, pure, used by gateway and sandbox alike."""
