"""Laws that can be drawn from: marginal maps, the Gaussian, recombination, paths."""
