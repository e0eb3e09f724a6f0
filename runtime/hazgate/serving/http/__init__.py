"""HTTP: the ASGI application, its edge, and a dialect for each gateway."""
