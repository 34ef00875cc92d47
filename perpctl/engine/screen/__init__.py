"""What the bot shows: its diary, its facts, the live view."""
