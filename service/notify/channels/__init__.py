"""Ways to a receiver. Each knows how to tell success from failure in that receiver's own words."""
