"""Read from a model's config.json the format its weights are published in."""

from collections.abc import Mapping
from typing import Final

from bursar.core.errors import ConfigError
from bursar.physics.chip import BITS_OF
from bursar.physics.fields import Config, flag, section, whole, word

_DTYPES: Final[Mapping[str, str]] = {
    "": "bf16",
    "auto": "bf16",
    "bfloat16": "bf16",
    "float16": "bf16",  # as many bits, and as fast
    "half": "bf16",
    "float32": "bf16",  # engines serve it in sixteen bits unless told otherwise
    "float": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
}
_WHOLE: Final = ("awq", "awq_marlin", "gptq", "gptq_marlin", "auto-round")
_STATED: Final = ("", "fp8", "fbgemm_fp8", "mxfp4", "modelopt", "modelopt_fp4", "modelopt_mixed", "compressed-tensors")
_WAY_OUT: Final = "; take quantization_config out of a copy of the config and name the format with --weights"


def quantization(config: Config) -> Config:
    """Give the section that says how weights are quantised, empty where they are not."""
    return section(config, "quantization_config") or section(section(config, "text_config"), "quantization_config")


def published(config: Config) -> str:
    """Give a format of `chip.BITS_OF`. Raises `ConfigError`, naming the method, where it is not known."""
    experts, how = word(config, "expert_dtype"), quantization(config)
    if experts in BITS_OF:
        return experts
    if not how:
        return _dtype(config)
    method = word(how, "quant_method").lower()
    if method in _WHOLE:
        return _format("int", whole(how, "bits"), method)
    if method == "bitsandbytes":
        return _bitsandbytes(how)
    if method not in _STATED:
        known = ", ".join((*_WHOLE, "bitsandbytes", *_STATED[1:]))
        raise ConfigError(f"quant_method is {method!r}; known are {known}{_WAY_OUT}")
    # Of parts in several formats the narrowest is that of the experts or the networks: most of the weights.
    groups = section(how, "config_groups")
    found = [_group(section(groups, name), method) for name in groups]
    return min(found, key=BITS_OF.__getitem__) if found else _by_words(how, method)


def _dtype(config: Config) -> str:
    text = section(config, "text_config")
    stated = next(
        (found for each in (text, config) for key in ("dtype", "torch_dtype") if (found := word(each, key))), ""
    )
    found = _DTYPES.get(stated.removeprefix("torch."))
    if found is None:
        raise ConfigError(f"torch_dtype is {stated!r}; known are {', '.join(filter(None, _DTYPES))}")
    return found


def _bitsandbytes(how: Config) -> str:
    for bits in (4, 8):
        if any(flag(how, key) for key in (f"load_in_{bits}bit", f"_load_in_{bits}bit")):
            return _format("int", bits, "bitsandbytes")
    raise ConfigError(f"quant_method is 'bitsandbytes' with neither load_in_4bit nor load_in_8bit{_WAY_OUT}")


def _group(group: Config, method: str) -> str:
    weights = section(group, "weights")
    return _format(word(weights, "type"), whole(weights, "num_bits"), method)


def _format(kind: str, bits: int, method: str) -> str:
    found = f"{'fp' if kind == 'float' else kind}{bits}"
    if found not in BITS_OF:
        raise ConfigError(f"weights of quant_method {method!r} are {found}; known are {', '.join(BITS_OF)}{_WAY_OUT}")
    return found


def _by_words(how: Config, method: str) -> str:
    words = " ".join((method, *(word(how, key).lower() for key in ("quant_algo", "format", "fmt"))))
    if "fp4" in words:
        return "fp4"
    if "fp8" in words or "e4m3" in words:
        return "fp8"
    raise ConfigError(f"quantization_config of quant_method {method!r} names no format of the weights{_WAY_OUT}")
