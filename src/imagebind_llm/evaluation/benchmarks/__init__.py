"""The field's benchmarks, on local files in their own formats, with their official metrics."""

_HERE = "imagebind_llm.evaluation.benchmarks"

BENCHMARKS: dict[str, str] = {
    "mme": f"{_HERE}.mme:MME_KIND",
    "pope": f"{_HERE}.pope:POPE_KIND",
    "vqav2": f"{_HERE}.vqa:VQAV2",
    "okvqa": f"{_HERE}.vqa:OKVQA",
    "gqa": f"{_HERE}.vqa:GQA",
    "vizwiz": f"{_HERE}.vqa:VIZWIZ",
    "textvqa": f"{_HERE}.vqa:TEXTVQA",
    "ocrvqa": f"{_HERE}.vqa:OCRVQA",
    "stvqa": f"{_HERE}.documents:STVQA",
    "docvqa": f"{_HERE}.documents:DOCVQA",
    "scienceqa": f"{_HERE}.choices:SCIENCEQA",
    "iconqa": f"{_HERE}.choices:ICONQA",
    "vsr": f"{_HERE}.choices:VSR",
    "clotho-aqa": f"{_HERE}.media_qa:CLOTHO_AQA",
    "msvd-qa": f"{_HERE}.media_qa:MSVD_QA",
    "msrvtt-qa": f"{_HERE}.media_qa:MSRVTT_QA",
    "activitynet-qa": f"{_HERE}.media_qa:ACTIVITYNET_QA",
    "scanqa": f"{_HERE}.media_qa:SCANQA",
    "qa": f"{_HERE}.media_qa:QA",
}
"""Name → where its :class:`~imagebind_llm.evaluation.suite.SuiteKind` is, in the order of the list."""
