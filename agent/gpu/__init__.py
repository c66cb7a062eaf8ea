"""What a job sees of the GPUs that it was granted. Pure: texts and answers of the host in, nodes and mounts out."""
