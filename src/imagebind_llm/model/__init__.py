"""The model: bind network, injection and any decoder-only language model, in transformers' classes."""

_done = False


def register() -> None:
    """Register the configuration, model and processor with ``AutoConfig``, ``AutoModel…`` and
    ``AutoProcessor``.

    Using any of this package's transformers classes does it too. It may be called again.
    """
    global _done
    if _done:
        return
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor

    from imagebind_llm.model.configuration import ImageBindLLMConfig
    from imagebind_llm.model.modeling import ImageBindLLMForConditionalGeneration
    from imagebind_llm.model.processing import ImageBindLLMProcessor

    AutoConfig.register(ImageBindLLMConfig.model_type, ImageBindLLMConfig, exist_ok=True)
    for auto in (AutoModelForMultimodalLM, AutoModelForImageTextToText):
        auto.register(ImageBindLLMConfig, ImageBindLLMForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(ImageBindLLMConfig, ImageBindLLMProcessor, exist_ok=True)
    _done = True
