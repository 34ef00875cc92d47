"""What people see of a kill: the dry run, the running kill, the receipt. Drawn from JSON facts and nothing else."""
