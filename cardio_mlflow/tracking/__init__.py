"""All that imports mlflow: the store, runs that are written, runs that are read, the model registry."""

from cardio_mlflow.settings_reading import stop_telemetry

stop_telemetry()
