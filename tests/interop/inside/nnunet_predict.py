"""nnU-Net's own predictor on a result folder; what it took is the last line printed."""

import json
import os
import resource
import sys
import time

arguments = json.loads(sys.argv[1])
for name in ("raw", "preprocessed", "results"):
    os.environ.setdefault(f"nnUNet_{name}", arguments.get("scratch", "/tmp"))

import torch  # noqa: E402
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: E402

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
predictor = nnUNetPredictor(
    use_mirroring=arguments.get("mirroring", True),
    device=torch.device("cpu"),
    perform_everything_on_device=False,
    allow_tqdm=False,
)
predictor.initialize_from_trained_model_folder(
    arguments["model"], use_folds=arguments.get("folds"), checkpoint_name="checkpoint_final.pth"
)
if arguments.get("float32"):
    # it sums logits in float16, whose rounding is what masks differ by; the rest stays
    torch.half = torch.float32
began = time.perf_counter()
predictor.predict_from_files_sequential(
    arguments["images"], [out.removesuffix(".nii.gz") for out in arguments["masks"]]
)
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - began,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
)
