"""The command line: which command, with which settings."""
