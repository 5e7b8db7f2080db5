"""Recording what the node counts and times, and giving it to Prometheus."""
