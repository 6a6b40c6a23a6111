"""Rewrites: small pure functions that make a shorter form of a node, tables of them a file a subject."""
