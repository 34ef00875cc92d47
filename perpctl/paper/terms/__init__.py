"""The terms on which a venue trades, as data: products, margin, fees, funding, hours. The core branches on no name."""
