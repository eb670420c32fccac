"""The native API, version 1: parse, ask the engine, render."""
