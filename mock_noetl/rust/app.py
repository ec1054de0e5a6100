"""Placeholder."""
class RustServer:
    def __init__(self, state): self.state = state
