"""What the network looks at: attention, rollout, Integrated Gradients, and whether they can be believed."""
