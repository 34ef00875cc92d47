"""This room draws what a kill says: the dry run, the steps as they come, the receipt."""
