"""The folder that `evaluate.load` takes: the metrics of one task, as `cfbench score` gives them."""
