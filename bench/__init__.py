"""Measures the gateway beside nginx and others. See `python -m bench --help` and docs/performance.md."""
