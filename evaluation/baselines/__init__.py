"""Generators to compare with."""
