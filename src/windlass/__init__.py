"""windlass takes long work over HTTP, keeps it safely, and runs it on a bounded pool of workers."""
