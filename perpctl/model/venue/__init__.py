"""What a venue is like, as data and arithmetic: its clock, its margin, what a key can do there."""
