"""The bundles: data only. Each folder with configs/ is a MONAI bundle; gridgate.pipeline.plans makes them."""
