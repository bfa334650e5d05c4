"""Fitted paths from independent pixels to the data, behind one interface."""
