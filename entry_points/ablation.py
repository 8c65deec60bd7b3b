"""The attention ablation: six variants over the same folds."""

from cardio_mlflow.pipelines.ablation import ablation
from cardio_mlflow.pipelines.command_line import run_command

if __name__ == "__main__":
    run_command("ablation", ablation)
