"""Flow diffusion: mass spreads from the seeds until nothing overflows."""
