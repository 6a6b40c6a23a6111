"""Reports: one file per format, all fed with `verdict.outcome.CheckOutcome`. The only importer of rich."""
