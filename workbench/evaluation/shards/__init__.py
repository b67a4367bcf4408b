"""A comparison past one machine: its tasks go in shards to Dask workers, and come back as rows."""
