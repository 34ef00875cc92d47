"""The documents of Advanced Trade v3, read into our words."""
