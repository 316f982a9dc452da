"""People: accounts and their roles, passwords, sessions, API keys, and who may do what."""
