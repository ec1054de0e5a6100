"""gateway.yaml: the model (one class per block), reading it with places, checking it, compiling it."""
