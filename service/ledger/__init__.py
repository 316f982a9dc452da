"""The ledger (台账): courtyards and their sites, what was seen there, who decided what, and proof of it."""
