"""The entry of a worker process: `python -m windlass.worker`, spawned by the server and by nobody else."""

from windlass.worker.main import main

if __name__ == "__main__":
    main()
