"""The two WebSocket hosts of the Advanced Trade face: connections, and what each channel tells."""
