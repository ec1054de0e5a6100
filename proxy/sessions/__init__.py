"""Sessions of signed-in users, and their stores. A store holds the SHA-256 of a token, never the token."""
