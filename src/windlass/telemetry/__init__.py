"""What windlass says of itself: log lines and their vocabulary. Decides nothing."""
