"""Small neural speech codecs that cover the taxonomy: one configurable design, trained and shipped.

`load_codec` reads one from disk.
"""

from cfbench.codecs.codec import Codec, load_codec, save_codec
from cfbench.codecs.config import CodecConfig, read_config

__all__ = ["Codec", "CodecConfig", "load_codec", "read_config", "save_codec"]
