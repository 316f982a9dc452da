"""The HTTP interface, `/api/v1` and `/ogc`: a module for each part. What they do lies in the packages of that name."""
