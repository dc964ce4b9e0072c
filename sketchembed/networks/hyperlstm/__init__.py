"""HyperLSTM (paper section 3; Ha et al. 2017): a step-by-step cell and a fast version for sequences."""
