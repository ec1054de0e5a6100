"""Pure decisions: access rules, rate limits, and origin policies. The modules do no I/O and use no web framework."""
