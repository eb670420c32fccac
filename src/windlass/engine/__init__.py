"""The engine: loops around the pure rules. Imports no store, no link, no web framework: it is given them."""
