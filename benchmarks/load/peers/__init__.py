"""What people serve a classifier with in hazgate's place, each a program of its own."""
