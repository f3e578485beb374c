"""One module per stage of the funnel."""
