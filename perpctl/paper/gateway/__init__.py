"""The gateway face of the paper exchange: JSON-RPC 2.0 over HTTP and WebSocket, without a socket in sight."""
