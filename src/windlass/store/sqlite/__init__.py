"""The embedded store: one SQLite file, one server, one writing thread."""
