"""What the venue's hours ask of the bot: steps towards a stop, the way back after it, the margin of the night."""
