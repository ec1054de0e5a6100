"""Pure rules of HTTP: functions over plain texts. The modules here do no I/O and import nothing else of the gateway."""
