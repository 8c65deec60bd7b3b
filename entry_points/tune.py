"""Tune learning rates, weight decay and dropout with Optuna."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.tune import tune

if __name__ == "__main__":
    run_command("tune", tune)
