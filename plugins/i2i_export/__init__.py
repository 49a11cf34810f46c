"""Export: a trained model as one file that runs without i2i, and engines that compute it instead of torch."""

from i2i.registry import hookimpl


@hookimpl
def register_engines() -> dict[str, str]:
    return {
        "compile": "i2i_export.engines:Compiled",
        "onnxruntime": "i2i_export.engines:OnnxRuntime",
        "openvino": "i2i_export.engines:OpenVino",
    }
