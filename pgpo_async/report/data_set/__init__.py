"""A data set looked at before it is trained on: `pgpo-async data check`, as a table, figures, and a page."""
