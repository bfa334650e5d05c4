"""Dual functions and how they are learned."""
