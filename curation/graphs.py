"""openvino graphs of a backbone that stay faithful in bf16.

Plain bf16 gives embeddings of the default backbone a cosine to fp32 of 0.996 at worst, and two
causes make most of that error. The first blocks work on many pixels of few channels, where the
errors of flat areas do not average out: `split` keeps them in fp32. Depthwise filters have few
weights, whose rounding errors add up to a wrong brightness: `round_depthwise` rounds so that they
cancel. openvino offers no precision per node on a processor, hence two graphs in a row.

Worst cosine and processor time an image, by the convolutions kept in fp32 (440 pictures, many on
flat ground; AVX-512 bf16): none 0.9969 and 5.0 ms, 3: 0.9988 and 5.6 ms, 9: 0.9994 and 7.1 ms,
18: 0.9997 and 7.7 ms, all: 1.0 and 9.3 ms. Error-compensating rounding of the pointwise filters
(GPTQ, 2210.17323) gained nothing at the worst picture.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from curation.backbones import Preprocessing

Floats = npt.NDArray[np.float32]

_WEIGHTED = {"Convolution", "GroupConvolution", "MatMul"}


def trace(model: nn.Module, preprocessing: Preprocessing, *, batch: int) -> Any:
    """The model as openvino's converter takes it, for pictures (batch, 3, size, size).

    The converter would trace by itself, and run the model twice more to compare; whether a graph is
    faithful is measured at the end anyway.
    """
    example = torch.zeros(batch, 3, preprocessing.size, preprocessing.size)
    with torch.inference_mode(), _quiet():
        tracer: Any = torch.jit.trace  # has no types
        return tracer(model, example, strict=False, check_trace=False)


def export(openvino: Any, traced: Any, preprocessing: Preprocessing, *, batch: int) -> Any:
    """A graph of what `trace` gave, one that takes 8-bit pixels (batch, size, size, 3)."""
    size = preprocessing.size
    shape = [batch, 3, size, size]
    with torch.inference_mode(), _quiet():
        graph = openvino.convert_model(traced, example_input=torch.zeros(shape), input=shape)
    steps = openvino.preprocess.PrePostProcessor(graph)
    entry = steps.input()
    entry.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    entry.model().set_layout(openvino.Layout("NCHW"))
    (
        entry.preprocess()
        .convert_element_type(openvino.Type.f32)
        .mean([255 * value for value in preprocessing.mean])
        .scale([255 * value for value in preprocessing.std])
    )
    return steps.build()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings that it will drop tracing, which is not the user's affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "Converting a tensor to a Python", Warning)
        yield


def round_depthwise(openvino: Any, graph: Any) -> None:
    """Round every depthwise filter to bf16 in place, keeping the sum of its weights.

    Neighbouring pixels are alike, so what a filter does to a flat area, the sum of its weights, is
    what rounding must preserve.
    """
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "GroupConvolution":
            continue
        holder = node.input(1)
        source = holder.get_source_output().get_node()
        while source.get_type_name() != "Constant":
            holder = source.input(0)
            source = holder.get_source_output().get_node()
        weights = np.array(source.data, np.float32)
        filters = weights.reshape(-1, weights.shape[-1] * weights.shape[-2])
        rounded = round_keeping_sums(filters).reshape(weights.shape)
        constant = openvino.opset13.constant(rounded)
        holder.replace_source_output(constant.output(0))


def round_keeping_sums(rows: Floats) -> Floats:
    """Round (R, K) to bf16, each error carried on to the next smaller value of its row."""
    order = np.argsort(-np.abs(rows), axis=1)
    carried = np.zeros(len(rows), np.float32)
    rounded = np.empty_like(rows)
    places = np.arange(len(rows))
    for column in order.T:
        wanted = rows[places, column] + carried
        rounded[places, column] = _to_bf16(wanted)
        carried = wanted - rounded[places, column]
    return rounded


def split(openvino: Any, graph: Any, convolutions: int) -> tuple[Any, Any] | None:
    """Cut a graph behind its first convolutions, where one tensor alone goes on.

    Returns:
        The part before and the part after, None where there is no such place. The graph itself is
        used up.
    """
    place = _cut_behind(graph, convolutions)
    if place is None:
        return None
    output = place.output(0)
    entry = openvino.opset13.parameter(output.get_partial_shape(), output.get_element_type())
    consumers = list(output.get_target_inputs())
    front = openvino.Model([output], graph.get_parameters(), "front")
    for consumer in consumers:
        consumer.replace_source_output(entry.output(0))
    return front, openvino.Model(graph.get_results(), [entry], "rest")


def _cut_behind(graph: Any, convolutions: int) -> Any:
    """The last node behind so many weighted layers whose output is all that later nodes need."""
    nodes = _data_nodes(graph)
    position = {node.get_friendly_name(): at for at, node in enumerate(nodes)}
    needed_until = {
        node.get_friendly_name(): max(
            (
                position[target.get_node().get_friendly_name()]
                for output in node.outputs()
                for target in output.get_target_inputs()
            ),
            default=-1,
        )
        for node in nodes
    }
    found, alive, layers = None, set[str](), 0
    for at, node in enumerate(nodes):
        name = node.get_friendly_name()
        layers += node.get_type_name() in _WEIGHTED
        alive = {other for other in alive if needed_until[other] > at} | {name}
        if layers > convolutions:
            break
        if layers == convolutions and alive == {name} and len(node.outputs()) == 1:
            found = node
    return found


def _data_nodes(graph: Any) -> list[Any]:
    """The nodes that depend on the input, in order; constants are left out."""
    names: set[str] = set()
    nodes = []
    for node in graph.get_ordered_ops():
        sources = (entry.get_source_output().get_node() for entry in node.inputs())
        if node.get_type_name() == "Parameter" or any(
            source.get_friendly_name() in names for source in sources
        ):
            names.add(node.get_friendly_name())
            nodes.append(node)
    return nodes


def _to_bf16(values: Floats) -> Floats:
    """The nearest bf16 numbers, as float32 (ties to even)."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    nearest: Floats = rounded.astype(np.uint32).view(np.float32)
    return nearest
