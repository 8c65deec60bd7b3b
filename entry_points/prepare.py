"""Prepare a cohort's clips."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.prepare import prepare

if __name__ == "__main__":
    run_command("prepare", prepare)
