"""The commands of `noetl-edge`, one module each."""
