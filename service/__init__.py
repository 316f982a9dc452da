"""The web service: upload a pair, have it compared in the background, see and fetch what came out."""
