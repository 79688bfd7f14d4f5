"""The lake: every topic as segments of Parquet files, chained by manifests, given back exactly."""
