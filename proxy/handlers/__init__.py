"""One thin module per kind of endpoint: reads the request, calls the room that knows, writes the answer."""
