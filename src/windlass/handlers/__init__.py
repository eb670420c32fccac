"""The built-in kinds. They run in workers, like a user's."""
