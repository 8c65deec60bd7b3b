"""The network: frame encoder, temporal attention, view fusion, nine heads."""
