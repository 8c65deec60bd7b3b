"""The whole study: prepare, train, ablate, validate, register, test, and a summary."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.main import main

if __name__ == "__main__":
    run_command("main", main)
