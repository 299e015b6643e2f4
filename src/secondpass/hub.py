"""The Hugging Face hub: its cache on disk, and downloads that were asked for.

``huggingface_hub`` is imported only here and only when a hub name is looked up. Of a repository only
configuration, tokenizer and weights are taken (ONNX where there is one, else safetensors): never code.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .errors import ModelError, ModelInvalidError, ModelNotFoundError

__all__ = ["cache_dir", "cached", "download", "is_hub_id", "is_plain"]

TEXT_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
ONNX_FILES = ("onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx.data")
WEIGHTS_FILE = "model.safetensors"
TIMEOUT = 10.0
"""Seconds to wait for an answer about a repository; the hub's own client has a limit for reading, too."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def is_plain(name: str) -> bool:
    """Whether a name is one or two plain words with a slash between: safe to append to a folder."""
    return re.fullmatch(rf"{_NAME}(/{_NAME})?", name) is not None


def is_hub_id(name: str) -> bool:
    """Whether a name has the form ``owner/name``."""
    return is_plain(name) and "/" in name and ".." not in name and "--" not in name


def cache_dir() -> Path:
    """Return the hub's cache on this machine (``HF_HUB_CACHE``, ``HF_HOME`` honoured)."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached(hub_id: str) -> list[Path]:
    """Return the snapshot of a repository's main branch in the cache, if it is there. No network."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(hub_id, "config.json")
    return [Path(file).parent] if isinstance(file, str) else []


def download(hub_id: str, progress: bool = False) -> Path:
    """Fetch a repository's configuration, tokenizer and weights into the hub's cache.

    Args:
        hub_id: ``owner/name``.
        progress: show the hub's progress bars on stderr.

    Returns:
        The folder of the snapshot.

    Raises:
        ModelNotFoundError: the hub does not know it, asks for a login, or cannot be reached
            (``HF_HUB_OFFLINE=1`` counts as that).
        ModelInvalidError: it holds neither ONNX nor safetensors weights.
        ModelError: the cache cannot be written.
    """
    import huggingface_hub as client
    from huggingface_hub import errors

    try:
        info = client.HfApi().model_info(hub_id, timeout=TIMEOUT)
        present = {sibling.rfilename for sibling in info.siblings or ()}
        return Path(
            client.snapshot_download(
                hub_id,
                allow_patterns=_wanted(hub_id, present),
                etag_timeout=TIMEOUT,
                tqdm_class=None if progress else _silent(),
            )
        )
    except ModelError:
        raise
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as exc:
        raise ModelNotFoundError(
            f"the hub has no public model {hub_id!r}; check the name, or log in with: hf auth login"
        ) from exc
    except errors.GatedRepoError as exc:
        raise ModelNotFoundError(
            f"{hub_id} is gated: accept its terms on its page at the hub, then: hf auth login"
        ) from exc
    except errors.OfflineModeIsEnabled as exc:
        raise ModelNotFoundError(
            f"{hub_id} is not on this machine and HF_HUB_OFFLINE is set; unset it to download"
        ) from exc
    except Exception as exc:
        raise _unreachable(hub_id, exc) from exc


def _wanted(hub_id: str, present: set[str]) -> list[str]:
    weights = [file for file in ONNX_FILES if file in present]
    if ONNX_FILES[0] not in present:
        weights = [file for file in (WEIGHTS_FILE,) if file in present]
    if not weights:
        raise ModelInvalidError(
            f"{hub_id} holds neither {ONNX_FILES[0]} nor {WEIGHTS_FILE}; secondpass reads nothing else"
        )
    return [*TEXT_FILES, *weights]


def _unreachable(hub_id: str, exc: Exception) -> ModelError:
    """Translate what the hub's client raises when network or disk fails; its types vary by version."""
    if isinstance(exc, OSError) and exc.errno is not None and exc.filename is not None:
        return ModelError(
            f"cannot write {exc.filename} while downloading {hub_id}: {exc.strerror}; free space, "
            "or set HF_HOME to another folder"
        )
    reason = " ".join(str(exc).split())[:300] or type(exc).__name__
    return ModelNotFoundError(
        f"the hub could not give {hub_id}: {reason}; check the connection and try again"
    )


def _silent() -> Any:
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Silent(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.update(disable=True)
            options.pop("name", None)
            super().__init__(*args, **options)

    return Silent
