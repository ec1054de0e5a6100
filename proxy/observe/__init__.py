"""Observability: logs, access log, audit log, metrics and tracing."""
