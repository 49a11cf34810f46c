"""Metrics: paired ones, distances between sets of pictures, and what a model does to its own translations."""

from i2i.registry import hookimpl


@hookimpl
def register_metrics() -> dict[str, str]:
    return {
        "psnr": "i2i_metrics.paired:Psnr",
        "ssim": "i2i_metrics.paired:Ssim",
        "ms_ssim": "i2i_metrics.paired:MsSsim",
        "l1": "i2i_metrics.paired:L1",
        "lpips": "i2i_metrics.perceptual:Lpips",
        "fid": "i2i_metrics.fid:Fid",
        "kid": "i2i_metrics.kid:Kid",
        "precision_recall": "i2i_metrics.precision_recall:PrecisionRecall",
        "retrieval": "i2i_metrics.retrieval:Retrieval",
        "swd": "i2i_metrics.swd:SlicedWasserstein",
        "cycle": "i2i_metrics.consistency:Cycle",
        "identity": "i2i_metrics.consistency:Identity",
        "diversity": "i2i_metrics.diversity:Diversity",
        "segmentation": "i2i_metrics.segmentation:Segmentation",
    }
