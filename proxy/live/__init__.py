"""Live executions: clients with event streams, requests whose result they wait for, callbacks, and polls upstream."""
