"""Glue for other frameworks, a module for each; importing this package imports none of them."""
