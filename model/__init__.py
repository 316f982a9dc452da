"""Network definition and, beside it, the released weights (`model/weights`)."""
