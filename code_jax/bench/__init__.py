"""What an edit costs, measured against the bare network in the same run."""
