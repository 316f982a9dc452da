"""From labelled pairs to released weights."""
