"""Samplers that know a log-density and nothing of models or data."""
