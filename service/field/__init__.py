"""Out in the field: who goes where, photographs taken there, and how they arrive over a bad line."""
