"""Connections to the outside: every one is judged before its first packet."""
