"""The trading floor of the paper exchange: book, market, account, orders."""
