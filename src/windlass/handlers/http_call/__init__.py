"""The `http` kind: one request, and an answer that decides how the task ends."""
