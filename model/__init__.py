"""Network definition and, beside it, the released weights (`model/weights`). No torch is imported here."""

OUTPUTS = ("structure_before", "structure_after", "change")
"""The network's outputs, in the order of every array that holds all three."""
