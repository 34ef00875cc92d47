"""This room closes positions: up a ladder of prices where orders can be reduce-only, by capped sizes where not."""
