"""The ports between the rooms, as Protocols: read this folder to learn the architecture. Holds no code that runs."""
