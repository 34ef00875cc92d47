"""This room keeps the live connections: supervised sockets, channels, and what they tell."""
