"""The dispatcher inside programs that have a loop already: see ``asyncio_program`` and ``plain_loop``."""
