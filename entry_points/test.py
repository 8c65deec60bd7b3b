"""Test the registered model on Cohort II."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.test import test

if __name__ == "__main__":
    run_command("test", test, {"predictions": "", "model": "study"})
