"""This room speaks to the global gateway: JSON-RPC over HTTP, an access token, sizes in base coin."""
