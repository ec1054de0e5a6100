"""Who is asking: key sets, token verification, and signing in."""
