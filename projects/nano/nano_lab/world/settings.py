"""The numbers of nano's senses, in one place.

Everything that prepares nano's input - training batches here, users' files in ``media`` - reads them from
:func:`nano_media_settings`, and they are stored with the model.
"""

from __future__ import annotations

from functools import cache

from imagebind_llm.media.settings import (
    AudioSettings,
    DepthSettings,
    ImageSettings,
    ImuSettings,
    MediaSettings,
    PointSettings,
    ThermalSettings,
    VideoSettings,
)


@cache
def nano_media_settings() -> MediaSettings:
    """Media settings of nano.

    - Pictures and video at 32 pixels, the size of its training photographs. Transparent pixels are white:
      a drawing program exports dark ink on nothing, and what colour it hides there is its own affair.
    - Audio up to 3.5 kHz: the spoken digits are 8 kHz recordings and the animal sounds have bandwidths that
      differ by class, so higher bands would tell the recording apart rather than the sound.
    - Depth standardised with the mean and spread of disparity for surfaces 0.5 to 4 m away, thermal images
      centred, IMU less gravity (y is up) and divided by the size of a hand's acceleration and turning rate.
    """
    return MediaSettings(
        image=ImageSettings(size=32, alpha="white"),
        video=VideoSettings(size=32),
        audio=AudioSettings(mel_bins=64, low_hz=20.0, high_hz=3500.0, downmix=True),
        point=PointSettings(count=512),
        depth=DepthSettings(size=32, mean=0.25, std=0.2),
        thermal=ThermalSettings(size=32, mean=0.5, std=0.25),
        imu=ImuSettings(mean=(0.0, 9.81, 0.0, 0.0, 0.0, 0.0), std=(1.5, 1.5, 1.5, 0.4, 0.4, 0.4)),
    )
