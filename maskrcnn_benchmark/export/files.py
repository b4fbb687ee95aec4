"""Exported detectors on the disk: ONNX, a torch.export program, or a library compiled ahead of time."""

import copy
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from maskrcnn_benchmark.utils.files import UnwritableError, write_atomically

_UNKNOWN_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")  # as torch.onnx says it


def _write_onnx(program: ExportedProgram, path: str, names: tuple[str, ...], notes: Mapping[str, str]) -> None:
    try:
        import onnx  # noqa: F401

        from maskrcnn_benchmark.export.onnx_operators import TABLE
    except ImportError as error:
        raise ImportError(
            f"Writing ONNX needs the packages onnx and onnxscript ({error}): pip install onnx onnxscript."
        ) from None
    try:
        converted: Any = torch.onnx.export(
            copy.deepcopy(program),  # the conversion changes it
            dynamo=True,
            opset_version=18,
            input_names=["image"],
            output_names=list(names),
            custom_translation_table=TABLE,
            verbose=False,
        )
        # A copy has the symbols of the program, which compiles no more while some of them belong to no node of it (torch 2.14).
        mode: Any = torch._guards.detect_fake_mode([node.meta.get("val") for node in program.graph.nodes])
        mode.shape_env.pending_fresh_unbacked_symbols.clear()
    except torch.onnx.OnnxExporterError as error:
        operator = _UNKNOWN_OPERATOR.search(str(error))
        if operator is None:
            raise
        raise ValueError(
            f"ONNX has nothing for the operator {operator[1]!r} of this model. Write a file that ends in .program.pt2 or "
            ".package.pt2, which keep operators as they are, or make the module of operators that PyTorch has."
        ) from None
    converted.model.metadata_props.update(notes)
    converted.save(path)


def _write_program(program: ExportedProgram, path: str, names: tuple[str, ...], notes: Mapping[str, str]) -> None:
    write_atomically(path, lambda file: torch.export.save(program, file, extra_files=dict(notes)))


def _write_package(program: ExportedProgram, path: str, names: tuple[str, ...], notes: Mapping[str, str]) -> None:
    # Layouts that inductor chooses make a convolution of a number of regions known at run time read and write in two of them:
    # wrong masks (torch 2.14). Those of ExportableDetector stay.
    options = {"aot_inductor.metadata": dict(notes), "layout_optimization": False}
    torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=options)


# format: (end of the file's name, what writes it)
FORMATS: dict[str, tuple[str, Callable[[ExportedProgram, str, tuple[str, ...], Mapping[str, str]], None]]] = {
    "onnx": (".onnx", _write_onnx),
    "torch": (".program.pt2", _write_program),
    "aoti": (".package.pt2", _write_package),
}


def write(
    program: ExportedProgram, format: str, path: str, names: tuple[str, ...], notes: Mapping[str, str] | None = None
) -> None:
    """Write an exported detector.

    Args:
        program: from `export_program`.
        format: "onnx" (needs onnx and onnxscript), "torch" (torch.export.load reads it) or "aoti" (needs a C++ compiler;
            torch._inductor.aoti_load_package reads it). The last two use this package's operators: import
            maskrcnn_benchmark.layers before.
        names: of the outputs, `ExportableDetector.names`.
        notes: kept in the file, under these names.
    """
    if format not in FORMATS:
        raise ValueError(f"A detector is exported as {', '.join(FORMATS)}; got {format!r}.")
    folder, name = os.path.split(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    # Beside its place until it is whole. What is too large for a file of ONNX lies in others, which have to be there before it.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as partial:
        try:
            FORMATS[format][1](program, os.path.join(partial, name), names, notes or {})
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UnwritableError(error.errno, error.strerror, path) from error
            raise
        for made in sorted(os.listdir(partial), key=lambda made: made == name):
            os.replace(os.path.join(partial, made), os.path.join(folder, made))


def quantize_onnx(path: str, images: Iterable[Tensor]) -> None:
    """Give an ONNX detector convolutions and fully connected layers of 8 bits (onnxruntime's static quantization).

    Weights become int8, with a scale for each output channel, and maps uint8, between the extremes seen on `images`. Proposals,
    boxes and scores stay as they are. The file is a quarter of its size; faster where the processor multiplies such numbers
    (VNNI, AMX), see benchmarks/results/export.md.

    Args:
        path: from `write`; replaced.
        images: what the file takes, as many and as varied as it takes to see the extremes: 20 to 100.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ImportError(f"8-bit ONNX needs onnx and onnxruntime ({error}): pip install onnx onnxruntime.") from None

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {"image": image.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        simplified, quantized = (os.path.join(folder, name) for name in ("simplified.onnx", "quantized.onnx"))
        quant_pre_process(path, simplified, skip_symbolic_shape=True)
        nodes = _nodes_on_maps(onnx.load(simplified, load_external_data=False).graph)
        quantize_static(
            simplified,
            quantized,
            Reader(),
            op_types_to_quantize=sorted(set(nodes.values())),
            nodes_to_quantize=list(nodes),
            per_channel=True,
            # The pair that onnxruntime has 8-bit convolutions for on x86; with int8 maps it would go through float32.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model, notes = onnx.load(quantized), onnx.load(path, load_external_data=False).metadata_props
    known = {entry.key for entry in model.metadata_props}
    model.metadata_props.extend(entry for entry in notes if entry.key not in known)
    write_atomically(path, lambda file: file.write(model.SerializeToString()))


def _nodes_on_maps(graph: Any) -> dict[str, str]:
    """Names and types of what computes on feature maps alone. Sums of boxes would not survive 8 bits; sums of maps do, and
    would cost two conversions each if they stayed."""
    maps: set[str] = set()
    chosen = {}
    for node in graph.node:
        of_maps = [name in maps for name in node.input]
        if node.op_type in ("Conv", "Gemm") or (node.op_type in ("Relu", "MaxPool", "Add") and all(of_maps)):
            chosen[node.name] = node.op_type
        elif node.op_type != "Resize" or not of_maps[0]:
            continue
        maps.update(node.output)
    return chosen
