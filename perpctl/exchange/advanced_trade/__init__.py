"""Advanced Trade v3: US perpetual-style futures through Coinbase Financial Markets."""
