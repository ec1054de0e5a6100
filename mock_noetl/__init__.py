"""A sandbox NoETL server that runs playbooks, for development and tests."""
