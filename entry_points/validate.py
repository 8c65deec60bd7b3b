"""Validate on Cohort I out of fold, and register the model."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.validate import validate

if __name__ == "__main__":
    run_command("validate", validate, {"predictions": ""})
