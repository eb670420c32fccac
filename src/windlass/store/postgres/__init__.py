"""The store that several servers share, on PostgreSQL."""
