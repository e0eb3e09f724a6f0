"""The APIs whose bodies are known, one module each, and their fields in one table."""
