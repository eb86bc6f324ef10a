"""Where datasets come from: one file a source, each of which gives the writer a list of cases."""
