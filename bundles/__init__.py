"""The bundles: MONAI bundles that wire networks, transforms and pipeline together.

Each folder with configs/ is a bundle. They are made from plans/ by the one template/, see generate.py.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
