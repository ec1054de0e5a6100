"""Sessions: who is signed in, until when. The stores keep the SHA-256 of a token, never the token."""
