"""What people say of the findings of a comparison, beside what the machine said, and back into training."""
