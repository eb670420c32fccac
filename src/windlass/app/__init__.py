"""What a user imports to write handlers. Knows nothing of the server."""
