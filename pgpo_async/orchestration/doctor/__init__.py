"""`pgpo-async doctor`: what is wrong with a machine or a config, found before hours are lost on it."""
