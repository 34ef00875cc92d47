"""Orders on the Advanced Trade face: read from requests, judged, entered, and shown again."""
