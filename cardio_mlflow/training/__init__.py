"""Training one fold: scaling, unfreezing, optimiser, frozen features, the loop, prediction."""
