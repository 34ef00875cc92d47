"""What the bot watches for on its own account: losses, strangers, its pace, runs of executions."""
