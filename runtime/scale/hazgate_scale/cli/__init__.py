"""Commands that join hazgate's command line."""
