"""The rules of windlass, pure: states, decisions, times, limits.

No asyncio, clocks, randomness, files or sockets in here; what a rule needs of them is an argument.
"""
