"""The Rust server 3.54: its endpoints, its errors, and what its engine records."""
