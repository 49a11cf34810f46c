"""Picture files, arrays and tensors: for data sets, and for all that translates."""
