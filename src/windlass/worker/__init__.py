"""The worker process: imports an app and runs its attempts. Never opens the store."""
