"""Show what the networks look at: attention, rollout, Integrated Gradients, and whether they hold."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.visualize import visualize

if __name__ == "__main__":
    run_command("visualize", visualize, {"patients": "worst=2,median", "model": "study", "loose": "false"})
