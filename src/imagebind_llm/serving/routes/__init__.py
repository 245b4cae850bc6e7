"""The HTTP routes, one file a group. Each has ``router(server)``."""
