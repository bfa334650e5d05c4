"""Studies with a command each: known truth, clusters, walks, ablation, tuning."""
