"""The one reader of bodies: bytes and headers in, passages and unread parts out. Pure."""
