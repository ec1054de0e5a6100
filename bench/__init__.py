"""Measures the gateway side by side with what an operator would otherwise run. `python -m bench --help`."""
