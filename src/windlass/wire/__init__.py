"""Shapes that cross a process border, and their strict encoding. Does no I/O."""
