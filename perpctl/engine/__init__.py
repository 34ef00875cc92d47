"""The bot: a core without I/O, the loop that carries out what it asks for, and its strategies."""
