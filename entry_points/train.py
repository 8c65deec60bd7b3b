"""Train all folds."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.train import train

if __name__ == "__main__":
    run_command("train", train)
