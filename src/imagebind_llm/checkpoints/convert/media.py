"""Media settings that fit an encoder: the published ones, in the sizes that its configuration has."""

from dataclasses import replace

from imagebind_llm.imagebind.config import ImageBindConfig
from imagebind_llm.media.settings import MediaSettings


def media_settings(config: ImageBindConfig) -> MediaSettings:
    """ImageBind's media settings with the picture sizes, mel bins and text length of ``config``.

    What a configuration does not say (sample rates, clips, number of points) stays as published.
    """
    media = MediaSettings()
    if config.vision is not None:
        side = config.vision.size[0]
        media = replace(media, image=replace(media.image, size=side), video=replace(media.video, size=side))
    if config.depth is not None:
        media = replace(media, depth=replace(media.depth, size=config.depth.size[0]))
    if config.thermal is not None:
        media = replace(media, thermal=replace(media.thermal, size=config.thermal.size[0]))
    if config.audio is not None:
        bins, frames = config.audio.size
        media = replace(media, audio=replace(media.audio, mel_bins=bins, target_frames=frames))
    if config.text is not None:
        media = replace(media, text=replace(media.text, context_length=config.text.context))
    return media
