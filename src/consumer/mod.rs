//! Topic → claim → process → report: the programs that run the jobs.
