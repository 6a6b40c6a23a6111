"""Running checks through an executor: in this process, in worker processes, on a cluster."""
