"""The papers' networks a second time, as plain functions over the authors' state dicts: what the zoo is tested against.

Written from the specification alone (`specs/networks.md` and the .json beside it), with the authors' keys and fixed
factors, and without any of our packages.
"""

import torch.nn.functional as F
from torch import Tensor, cat


class Weights:
    """Layers by the authors' names: `w.conv("x", t)` convolves t with `x.weight` and, where there is one, `x.bias`."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, key: str, x: Tensor, dilation: int = 1, scale: float = 1.0, **options) -> Tensor:
        weight = self.state[f"{key}.weight"] * scale
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.state.get(f"{key}.bias"), padding=padding, dilation=dilation, **options)

    def bn(self, key: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (self.state[f"{key}.{leaf}"] for leaf in _NORM)
        return F.batch_norm(x, mean, var, weight, bias)

    def prelu(self, key: str, x: Tensor) -> Tensor:
        return F.prelu(x, self.state[f"{key}.weight"])


_NORM = ("running_mean", "running_var", "weight", "bias")


def resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def resnet50_taps(w: Weights, x: Tensor, conv1: str, bn1: str, layers: list[str]) -> list[Tensor]:
    """The stem before its pool, then the four stages."""
    x = F.relu(w.bn(bn1, w.conv(conv1, x, stride=2)))
    taps = [x]
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, (layer, count) in enumerate(zip(layers, (3, 4, 6, 3), strict=True)):
        for j in range(count):
            key = f"{layer}.{j}"
            stride = 2 if stage > 0 and j == 0 else 1
            y = F.relu(w.bn(f"{key}.bn1", w.conv(f"{key}.conv1", x)))
            y = F.relu(w.bn(f"{key}.bn2", w.conv(f"{key}.conv2", y, stride=stride)))
            y = w.bn(f"{key}.bn3", w.conv(f"{key}.conv3", y))
            if j == 0:
                x = w.bn(f"{key}.downsample.1", w.conv(f"{key}.downsample.0", x, stride=stride))
            x = F.relu(x + y)
        taps.append(x)
    return taps


def vgg16_taps(w: Weights, x: Tensor) -> list[Tensor]:
    """After the last ReLU of each slice `encoder{stride}`; every slice but the first begins with the pool."""
    taps = []
    for stride, positions in ((1, (0, 3)), (2, (1, 4)), (4, (1, 4, 7)), (8, (1, 4, 7)), (16, (1, 4, 7))):
        if stride > 1:
            x = F.max_pool2d(x, 2)
        for n in positions:
            x = F.relu(w.bn(f"encoder{stride}.{n + 1}", w.conv(f"encoder{stride}.{n}", x)))
        taps.append(x)
    return taps


def minet_vgg16(state: dict[str, Tensor], x: Tensor, layouts: dict) -> list[Tensor]:
    """layouts: minet_layouts.json."""
    w = Weights(state)
    aims = _aims(w, vgg16_taps(w, x), layouts["networks"]["minet-vgg16"]["aim"], layouts["blocks"])
    return [w.conv("classifier", _minet_decoder(w, aims, (16, 8, 4, 2, 1), layouts["blocks"]["sim"]))]


def minet_resnet50(state: dict[str, Tensor], x: Tensor, layouts: dict) -> list[Tensor]:
    """layouts: minet_layouts.json."""
    w = Weights(state)
    taps = resnet50_taps(w, x, "div_2.0", "div_2.1", ["div_4.1", "div_8", "div_16", "div_32"])
    aims = _aims(w, taps, layouts["networks"]["minet-resnet50"]["aim"], layouts["blocks"])
    d = _minet_decoder(w, aims, (32, 16, 8, 4, 2), layouts["blocks"]["sim"])
    d = _upconv(w, 1, F.interpolate(d, scale_factor=2, mode="bilinear", align_corners=False))
    return [w.conv("classifier", d)]


def _aims(w: Weights, taps: list[Tensor], modules: list[dict], blocks: dict) -> list[Tensor]:
    aims = []
    for module in modules:
        known = {f"in_{b}": taps[i] for b, i in zip("hml", module["inputs_hml"], strict=True) if i is not None}
        aims.append(_minet_block(w, module["key"], blocks[module["block"]], known))
    return aims


def _minet_decoder(w: Weights, aims: list[Tensor], strides: tuple[int, ...], sim: dict) -> Tensor:
    d = None
    for stride, aim in zip(strides, reversed(aims), strict=True):
        z = aim if d is None else aim + resize(d, aim)
        d = _upconv(w, stride, _minet_block(w, f"sim{stride}", sim, {"x": z}))
    return d


def _upconv(w: Weights, stride: int, x: Tensor) -> Tensor:
    return F.relu(w.bn(f"upconv{stride}.basicconv.1", w.conv(f"upconv{stride}.basicconv.0", x)))


def _minet_block(w: Weights, prefix: str, block: dict, known: dict[str, Tensor]) -> Tensor:
    for node in block["nodes"]:
        if "identity_sum" in node:
            known[node["name"]] = sum(known[name] for name in node["identity_sum"])
            continue
        total = 0
        for source, step, key in node["edges"]:
            x = known[source]
            if step == "avg2":
                x = F.avg_pool2d(x, 2)
            elif step == "nearest_x2":
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            elif step == "bilinear_to_x":
                x = resize(x, known["x"])
            total = total + w.conv(f"{prefix}.{key}", x)
        total = w.bn(f"{prefix}.{node['norm']}", total)
        if "residual_after_norm" in node:
            source, key = node["residual_after_norm"]
            total = total + w.conv(f"{prefix}.{key}", known[source])
        known[node["name"]] = F.relu(total)
    return known["out"]


def auto_msfnet_resnet50(state: dict[str, Tensor], x: Tensor, cells: list[dict]) -> list[Tensor]:
    """cells: `auto-msfnet-resnet50` of automsf_genotypes.json."""
    w = Weights(state)
    taps = resnet50_taps(w, x, "resnet.conv1", "resnet.bn1", [f"resnet.layer{k}" for k in (1, 2, 3, 4)])[1:]
    reduced = {f"F{k}": F.relu(w.bn(f"resnet.bn{k}", w.conv(f"resnet.conv{k}", taps[k - 2]))) for k in (2, 3, 4, 5)}
    outputs, previous = [], None
    for cell, size, head in zip(cells, (reduced["F4"], reduced["F3"], reduced["F2"]), (66, 55, 44), strict=True):
        t = [resize(_operation(w, edge["op"], edge["key"], reduced[edge["source"]]), size) for edge in cell["outer"]]
        values = {"P0": t.pop(0)} if previous is None else {"P0": resize(previous, size)}
        values |= {f"S{k}": s for k, s in enumerate(t, start=1)}
        count = len(t)
        for k in range(1, count + 1):
            arriving = [edge for edge in cell["inner"] if edge["adds_to"] == f"N{k}"]
            terms = [_operation(w, edge["op"], edge["key"], values[edge["reads"]]) for edge in arriving]
            values[f"N{k}"] = values[f"S{k}"] + sum(terms)
        key = f"feafusion.{cell['module']}"
        total = sum(values[f"N{k}"] for k in range(1, count + 1))
        previous = F.relu(w.bn(f"{key}.bn11", w.conv(f"{key}.conv11", total)))
        outputs.insert(0, resize(w.conv(f"conv{head}", previous), x))
    return outputs


def _operation(w: Weights, op: str, key: str, x: Tensor) -> Tensor:
    if op == "none":
        return x * 0
    if op == "skip_connect":
        return x
    if op == "SpatialAttention":
        mask = w.conv(f"{key}.conv1", cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)).sigmoid()
        return F.relu(w.bn(f"{key}.bn11", w.conv(f"{key}.conv11", x * mask)))
    if op == "ChannelAttention":
        a = F.relu(F.linear(x.mean((2, 3)), *(w.state[f"{key}.linear_1.{leaf}"] for leaf in ("weight", "bias"))))
        a = F.linear(a, *(w.state[f"{key}.linear_2.{leaf}"] for leaf in ("weight", "bias"))).sigmoid()
        return F.relu(w.bn(f"{key}.bn1", w.conv(f"{key}.conv1", x * a[:, :, None, None])))
    dilation = 4 if op.endswith("dil4") else 2 if op.startswith("dil") else 1
    convolutions = 1 if op.startswith("conv") else 2
    position = 0
    for _ in range(2 if op.endswith("rp2") else 1):
        x = w.conv(f"{key}.op.{position + 1}", F.relu(x), dilation=dilation)
        if convolutions == 2:
            x = w.conv(f"{key}.op.{position + 2}", x)
        x = w.bn(f"{key}.op.{position + convolutions + 1}", x)
        position += convolutions + 2
    return x


def csnet(state: dict[str, Tensor], x: Tensor, layout: dict) -> list[Tensor]:
    """layout: one network of csnet_layouts.json."""
    w = Weights(state)
    branches, taps = [x], []
    for unit in layout["units"]:
        if unit["avgpool2"]:
            branches = [F.avg_pool2d(b, 2) for b in branches]
        key = unit["key"]
        branches = _octave_unit(w, f"{key}.conv1x1", branches, unit["in_widths"], unit["out_widths"])
        for part in ("conv3x3_1", "conv3x3_2"):
            for b, y in enumerate(branches):
                y = w.conv(f"{key}.{part}.convs.{b}", y, scale=100, groups=y.shape[1])
                branches[b] = w.prelu(f"{key}.{part}.prelus.{b}", w.bn(f"{key}.{part}.bns.{b}", y))
        if key in layout["head_taps"]:
            taps.append(branches[0])
    head = layout["head"]
    fused = _octave_unit(w, "oct_fuse.fuse", taps, head["fuse"]["in_widths"], head["fuse"]["out_widths"])
    for b, (y, widths) in enumerate(zip(fused, head["ms"]["dilation_widths"], strict=True)):
        key = f"oct_fuse.ms.convs.{b}"
        parts = [w.conv(f"{key}.msconv.{d}", y, dilation=2**d, scale=100) for d in range(5) if widths[d]]
        fused[b] = w.prelu(f"{key}.prelu", w.bn(f"{key}.bn", cat(parts, 1)))
    last = head["fuse1x1"]
    (y,) = _octave_unit(w, "oct_fuse.fuse1x1", fused, last["in_widths"], last["out_widths"])
    return [resize(w.conv("cls_layer", y), x)]


def csnet_keys(layout: dict) -> list[tuple[str, list[int], str]]:
    """(key, shape, dtype) of the authors' state dict of any layout, for networks whose list is not published."""
    keys = []

    def add(key: str, *shape: int) -> None:
        keys.append((key, list(shape), "float32"))

    def norm(bn: str, prelu: str, width: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            add(f"{bn}.{leaf}", width)
        add(f"{prelu}.weight", width)

    def octave(key: str, ins: list[int], outs: list[int], kernel: int) -> None:
        add(f"{key}.conv.weight", sum(outs), sum(ins), kernel, kernel)
        for j, out in enumerate(outs):
            norm(f"{key}.bns.{j}", f"{key}.prelus.{j}", out)

    for unit in layout["units"]:
        octave(f"{unit['key']}.conv1x1", unit["in_widths"], unit["out_widths"], unit["kernel"])
        for part in ("conv3x3_1", "conv3x3_2"):
            for b, width in enumerate(unit["out_widths"]):
                add(f"{unit['key']}.{part}.convs.{b}.weight", width, 1, 3, 3)
                norm(f"{unit['key']}.{part}.bns.{b}", f"{unit['key']}.{part}.prelus.{b}", width)
    head = layout["head"]
    octave("oct_fuse.fuse", head["fuse"]["in_widths"], head["fuse"]["out_widths"], 1)
    for b, widths in enumerate(head["ms"]["dilation_widths"]):
        for d, width in enumerate(widths):
            if width:
                add(f"oct_fuse.ms.convs.{b}.msconv.{d}.weight", width, head["fuse"]["out_widths"][b], 3, 3)
        norm(f"oct_fuse.ms.convs.{b}.bn", f"oct_fuse.ms.convs.{b}.prelu", sum(widths))
    octave("oct_fuse.fuse1x1", head["fuse1x1"]["in_widths"], head["fuse1x1"]["out_widths"], 1)
    add("cls_layer.weight", 1, sum(head["fuse1x1"]["out_widths"]), 1, 1)
    add("cls_layer.bias", 1)
    return keys


def _octave_unit(w: Weights, key: str, xs: list[Tensor], ins: list[int], outs: list[int]) -> list[Tensor]:
    weight = w.state[f"{key}.conv.weight"]
    results = []
    for j, out in enumerate(outs):
        total = 0
        for i, x in enumerate(xs):
            kernel = weight[sum(outs[:j]) : sum(outs[:j]) + out, sum(ins[:i]) : sum(ins[: i + 1])]
            if i < j:
                x = F.max_pool2d(x, 2 ** (j - i))
            x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
            if i > j:
                x = F.interpolate(x, scale_factor=2 ** (i - j), mode="bilinear", align_corners=False)
            total = total + x
        results.append(w.prelu(f"{key}.prelus.{j}", w.bn(f"{key}.bns.{j}", total)))
    return results
