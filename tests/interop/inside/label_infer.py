"""MONAI Label's BundleInferTask on scans: the label map that it gives, as a file."""

import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.transforms import LoadImage
from stand_ins import stand_in_for_torchvision

stand_in_for_torchvision()
from monailabel.tasks.infer.bundle import BundleInferTask  # noqa: E402

asked = json.loads(sys.argv[1])
task = BundleInferTask(asked["bundle"], {"preload": "false"})
request = {"model": "segmentation", "image": asked["scan"], "device": "cpu"}
if asked["in_memory"]:  # its writer wants a file's name
    request |= {"image": LoadImage()(asked["scan"]), "skip_writer": True}
file, result = task(request)
if file is None:
    labels, affine = np.asarray(result["pred"]), result["pred_meta_dict"]["affine"]
    names = task.labels
else:
    labels, affine = np.asarray(nib.load(file).dataobj), nib.load(file).affine
    names = result["label_names"]
np.save(asked["out"], labels)
post = [type(transform).__name__ for transform in task.post_transforms({"device": "cpu"})]
print(
    json.dumps(
        {
            "config": Path(task.bundle_config_path).name,
            "valid": task.is_valid(),
            "labels": names,
            "affine": np.asarray(affine).tolist(),
            "left": sorted(os.listdir(".")),
            "post": post,
        }
    )
)
