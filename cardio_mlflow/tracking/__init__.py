"""All that imports mlflow: the store, runs that are written, runs that are read, the model registry."""
