"""Where imagery comes from: rasters, readers of labelled sets, and generated districts. No torch here."""
