"""The US face of the paper exchange: Coinbase Advanced Trade v3, REST and WebSocket, on a core of its own."""
