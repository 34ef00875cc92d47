"""The bot seen from outside: health, metrics, and a small local service that may lower risk."""
