"""Every network in the registry, in 3D and at tiny widths, by torch.export and through ONNX."""

import io

import numpy as np
import pytest
import torch

from .tiny_networks import TINY, every_network, stirred

FAMILY = {"unet_e", "unet_plus", "wide_unet"}
"""Made of U-Net++'s parts, whose ONNX is tried."""


@every_network
def test_torch_export_and_onnx_give_the_same_logits(name: str) -> None:
    net = stirred(name)
    x = torch.randn(1, 1, *TINY[name].other)  # not the window that positions are made for
    with torch.no_grad():
        eager = net(x)
        program = torch.export.export(net, (x,))
        torch.testing.assert_close(program.module()(x), eager, rtol=1e-4, atol=1e-5)
    if name in FAMILY:
        return
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    file = io.BytesIO()
    exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    exported.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.abs(found - eager.numpy()).max() <= 1e-4 * eager.abs().max().item()
