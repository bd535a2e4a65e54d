"""The client of this process, so set up that it knows one Hub and nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hub_server import Hub


def use(hub: "Hub", home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have huggingface_hub ask this Hub, without a login, and keep its files in `home`.

    Call `huggingface_hub.close_session()` when the test is over.
    """
    import huggingface_hub
    from huggingface_hub import constants

    settings = {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "cache"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        assert hasattr(constants, name)
        monkeypatch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
