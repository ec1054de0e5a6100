"""Pure decisions: who may do what, and which origins may read an answer. No I/O, no web framework."""
