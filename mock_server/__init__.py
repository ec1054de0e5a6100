"""What both sandboxes have in common: an HTTP server with faults, a clock, a journal and a control plane."""
