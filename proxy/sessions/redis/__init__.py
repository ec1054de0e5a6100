"""The redis store: sessions and live executions that any number of gateways share through one Redis or Valkey."""
