"""Signing in with NoETL's own accounts (`auth.provider: playbook`): users, sessions and permissions in its database."""
