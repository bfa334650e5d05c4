"""GluonTS datasets, frames, arrays and files, and windows cut from them."""
