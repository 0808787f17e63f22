"""Where pictures, results and priors lie: paths of a disk, and addresses of buckets, which keep one small interface."""
