"""Whether this machine is ready: packages, decoders, GPU, memory, disk, store, backbone."""

from cardio_mlflow.pipelines.doctor import examine_as_command

if __name__ == "__main__":
    examine_as_command()
