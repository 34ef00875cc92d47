"""What the core keeps: products, orders, positions, the money of the day, and how the gate sees them."""
