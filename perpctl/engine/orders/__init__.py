"""The life of our own orders after they are asked for: what the venue says of each, and what follows."""
