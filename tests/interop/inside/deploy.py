"""MONAI Deploy's operators from a DICOM folder to a DICOM SEG, one after another by hand."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stand_ins import StandIn, stand_in_for_holoscan

stand_in_for_holoscan()
import torch  # noqa: E402
from monai.deploy.core import IOType  # noqa: E402
from monai.deploy.core.domain.image import Image  # noqa: E402
from monai.deploy.operators.dicom_data_loader_operator import (  # noqa: E402
    DICOMDataLoaderOperator,
)
from monai.deploy.operators.dicom_seg_writer_operator import (  # noqa: E402
    DICOMSegmentationWriterOperator,
    SegmentDescription,
)
from monai.deploy.operators.dicom_series_selector_operator import (  # noqa: E402
    DICOMSeriesSelectorOperator,
)
from monai.deploy.operators.dicom_series_to_volume_operator import (  # noqa: E402
    DICOMSeriesToVolumeOperator,
)
from monai.deploy.operators.monai_bundle_inference_operator import (  # noqa: E402
    IOMapping,
    MonaiBundleInferenceOperator,
)
from pydicom.sr.codedict import codes  # noqa: E402


class Port:
    """An operator's inputs and outputs."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def receive(self, name: str) -> Any:
        return self.values.get(name)

    def get(self, name: str) -> Any:
        return None

    def emit(self, value: Any, name: str) -> None:
        self.values[name] = value


asked = json.loads(sys.argv[1])
bundle, out = Path(asked["bundle"]), Path(asked["out"])
fragment = StandIn()

loader = DICOMDataLoaderOperator(fragment, input_folder=Path(asked["dicom"]))
studies = loader.load_data_to_studies(Path(asked["dicom"]))
selected = DICOMSeriesSelectorOperator(fragment, rules=None).filter(None, studies)
image = DICOMSeriesToVolumeOperator(fragment).convert_to_image(selected)

network = None
if bundle.is_file():  # the app's context has loaded the model
    network = torch.jit.load(str(bundle)).eval()
    network.path = str(bundle)
context = SimpleNamespace(models=SimpleNamespace(get=lambda name: network) if network else None)
segment = MonaiBundleInferenceOperator(
    fragment,
    app_context=context,
    input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
    output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
    bundle_path=bundle,
)
output = Port()
segment.compute(Port(image=image), output, None)

descriptions = [
    SegmentDescription(
        segment_label=name,
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_name="network",
        algorithm_version="1",
    )
    for name in asked["labels"]
]
writer = DICOMSegmentationWriterOperator(
    fragment, segment_descriptions=descriptions, output_folder=out
)
writer.process_images(output.values["pred"], selected, out)
(file,) = out.glob("*.dcm")
print(
    json.dumps(
        {
            "seg": str(file),
            "left": sorted(os.listdir(".")),
            "steps": [type(one).__name__ for one in segment._preproc.transforms],
            "after": [type(one).__name__ for one in segment._postproc.transforms],
        }
    )
)
