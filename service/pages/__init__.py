"""The pages, rendered here; scripts add what needs a pointer or a clock."""
