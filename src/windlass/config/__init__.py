"""Settings: one frozen tree, read once at the start. Reads nothing of the machine but what `load` reads."""
