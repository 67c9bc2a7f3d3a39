//! Histograms, summary and verdicts of a run
