"""The report of runs and attacks: one HTML file that needs nothing else."""
