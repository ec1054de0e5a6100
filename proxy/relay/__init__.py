"""Relayed requests: the streaming path, the fast path, WebSockets and event streams."""
