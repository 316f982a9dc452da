"""What the public may read and say: the ledger without places and persons, how often the system is wrong, reports.

Closed unless `JINGDI_PUBLIC` opens it. Only what a named person decided is shown; a suspicion never is.
"""
