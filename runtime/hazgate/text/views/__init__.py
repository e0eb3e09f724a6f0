"""Views: a disguised text as a person reads it, and its places in the text as written."""
