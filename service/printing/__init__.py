"""What is printed: the bulletin of a period and the evidence packet of a site, as figures and as PDF."""
