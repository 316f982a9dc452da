"""Triage: leads are looked at one by one, and accepted or rejected; what is hard to take back by two people."""
