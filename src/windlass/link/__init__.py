"""Worker processes: spawned, watched, spoken to, ended. Knows nothing of tasks beyond an attempt's token."""
