"""Make the demo backbone: a small ViT pretrained on synthetic frames of patients that are in no cohort."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.pretrain import pretrain

if __name__ == "__main__":
    run_command("pretrain", pretrain, {"patients": "2000", "passes": "12", "output": ""})
