"""Predict for new patients."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.predict import OPTIONS, needs_store, predict

if __name__ == "__main__":
    run_command("predict", predict, OPTIONS, {"input": "data"}, needs_store)
