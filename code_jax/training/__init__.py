"""Training of a prior as pure functions, and a small loop around them."""
