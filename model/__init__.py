"""Network definition and, beside it, the released weights (`model/weights`). No torch is imported here."""

OUTPUTS = ("structure_before", "structure_after", "change")
"""The network's outputs, in the order of every array that holds all three."""

DATES = OUTPUTS[:2]
"""What stands at each date, read by one head."""

CLOUD_OUTPUTS = ("cloud_before", "cloud_after")
"""Further outputs of overhead weights that see what clouds hide at each date, a pixel for every `CLOUD_STRIDE`."""

CLOUD_STRIDE = 8

CLASS_OUTPUTS = ("classes_before", "classes_after")
"""Further outputs of weights that tell several classes apart at each date, structure being the first."""


def output_names(*, classes: bool, clouds: bool) -> tuple[str, ...]:
    """All outputs of a file of weights, in their order."""
    return (*OUTPUTS, *(CLASS_OUTPUTS if classes else ()), *(CLOUD_OUTPUTS if clouds else ()))
