"""The live connection: two supervised sockets, what they tell folded into events."""
