"""Sort an export of a PACS or a scanner into a cohort folder."""

from cardio_mlflow.pipelines.command_line import run_command
from cardio_mlflow.pipelines.sort import OPTIONS, sort

if __name__ == "__main__":
    run_command("sort", sort, OPTIONS, {"cohort": "data"})
