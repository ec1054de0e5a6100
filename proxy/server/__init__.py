"""Processes and sockets: workers, connections, and the dispatcher that takes a request through its steps."""
