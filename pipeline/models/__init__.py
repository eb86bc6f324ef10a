"""Networks with weights: build, load, devices and precision, export, attention."""
