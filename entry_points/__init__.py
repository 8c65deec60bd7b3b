"""What MLproject runs: one module per entry point."""

import sys

from cardio_mlflow.settings_reading import put_caches_of_libraries

put_caches_of_libraries(sys.argv[1:])
