"""Network definition and, beside it, the released weights (`model/weights`). No torch is imported here."""

OUTPUTS = ("structure_before", "structure_after", "change")
"""The network's outputs, in the order of every array that holds all three."""

DATES = OUTPUTS[:2]
"""What stands at each date, read by one head."""

CLASS_OUTPUTS = ("classes_before", "classes_after")
"""Further outputs of weights that tell several classes apart at each date, structure being the first."""
