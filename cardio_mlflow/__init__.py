"""Nine right-heart-catheterisation values from four standard echocardiography views."""

__version__ = "0.1.0"
