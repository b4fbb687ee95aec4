"""Exported detectors on the disk: ONNX, a torch.export program, or a library compiled ahead of time."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram


def _write_onnx(program: ExportedProgram, path: str, names: tuple[str, ...], notes: Mapping[str, str]) -> None:
    try:
        import onnx  # noqa: F401

        from maskrcnn_benchmark.export.onnx_operators import TABLE
    except ImportError as error:
        raise ImportError(
            f"Writing ONNX needs the packages onnx and onnxscript ({error}): pip install onnx onnxscript."
        ) from None
    converted: Any = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=18,
        input_names=["image"],
        output_names=list(names),
        custom_translation_table=TABLE,
        verbose=False,
    )
    converted.model.metadata_props.update(notes)
    converted.save(path)


def _write_program(program: ExportedProgram, path: str, names: tuple[str, ...], notes: Mapping[str, str]) -> None:
    torch.export.save(program, path, extra_files=dict(notes))


def _write_package(program: ExportedProgram, path: str, names: tuple[str, ...], notes: Mapping[str, str]) -> None:
    options = {"aot_inductor.metadata": dict(notes)}
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
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    FORMATS[format][1](program, path, names, notes or {})
