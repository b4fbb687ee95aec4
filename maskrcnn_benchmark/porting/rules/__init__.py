"""What is rewritten in a fork's files, one file a subject: each rule says what it replaces and why; every.py lists them."""
