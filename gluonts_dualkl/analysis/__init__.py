"""What a fitted model says: nats, levels, clusters, attributions."""
