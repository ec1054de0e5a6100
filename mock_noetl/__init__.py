"""A sandbox NoETL server that runs playbooks in time, for laptops and tests."""
