"""perpctl: the runbook of a Coinbase perpetual-futures desk as one command tree."""

__version__ = "0.1.0"
