"""Nine right-heart-catheterisation values from four standard echocardiography views."""
