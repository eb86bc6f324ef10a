"""The bundles: data only, made by gridgate.pipeline.plans. A folder with configs/ is a bundle."""
