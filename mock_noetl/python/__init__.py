"""The Python server 4.26: its endpoints, its errors, and what its engine records."""
