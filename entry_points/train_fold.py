"""Train one fold: an epoch record at a time into one MLflow run."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.train_fold import train_fold

if __name__ == "__main__":
    run_command("train_fold", train_fold, {"fold": "1"})
