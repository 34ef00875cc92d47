"""What this venue is like for us: what our key can do there, what our margin is, what comes next."""
