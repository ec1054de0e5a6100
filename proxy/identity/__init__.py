"""Identity of users: key sets, verification of tokens, and login."""
