"""The servers behind the gateway: connections, relaying, and the NoETL API as typed calls."""
