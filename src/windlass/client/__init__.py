"""Calling a windlass server from Python."""
