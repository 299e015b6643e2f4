"""The Hugging Face hub: its cache on disk, and downloads that were asked for.

``huggingface_hub`` is imported only here and only when a hub name is looked up. Of a repository only
configuration, tokenizer and weights are taken (ONNX where there is one, else safetensors): never code. Every
file is compared with the checksum that the hub gives it: sha256 for weights, git's sha1 for small text files.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .architectures import architecture_of, needs_code
from .downloading import check_content, fetch
from .errors import ModelError, ModelInvalidError, ModelNotFoundError
from .processors import eight_bit_names

__all__ = ["Progress", "cache_dir", "cached", "download", "is_hub_id", "is_plain"]

Progress = Callable[[int, int], None]
"""Takes the bytes of weights that are here, and how many there will be."""

TEXT_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
)
ONNX_FILE = "onnx/model.onnx"
WEIGHTS_FILE = "model.safetensors"

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


def download(hub_id: str, progress: Progress | None = None, precision: str = "int8") -> Path:
    """Fetch a repository's configuration, tokenizer and weights into the hub's cache.

    Weights that came in part are gone on with, also by a later call.

    Args:
        hub_id: ``owner/name``.
        progress: is told how far the weights are.
        precision: ``int8`` takes the 8-bit ONNX file made for this processor where there is one; ``fp32``
            takes ``onnx/model.onnx``. Both take ``model.safetensors`` where there is no ONNX file.

    Returns:
        The folder of the snapshot.

    Raises:
        ModelNotFoundError: the hub does not know it, asks for a login, or cannot be reached
            (``HF_HUB_OFFLINE=1`` counts as that).
        ModelInvalidError: it holds neither ONNX nor safetensors weights, wants code of its own to be run, or
            a file is not the one that the hub describes.
        ModelError: the cache cannot be written, or the download broke off.
    """
    with _told(hub_id):
        return _download(hub_id, progress, precision)


def _download(hub_id: str, progress: Progress | None, precision: str) -> Path:
    import huggingface_hub as client
    from huggingface_hub import constants

    info = client.HfApi().model_info(hub_id, timeout=constants.HF_HUB_ETAG_TIMEOUT, files_metadata=True)
    files = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    weights = _weights(hub_id, set(files), precision)
    texts = [file for file in TEXT_FILES if file in files]
    if weights[0] == WEIGHTS_FILE:
        _refuse_code(hub_id, str(info.sha))
    _fetch_weights(hub_id, str(info.sha), {name: files[name] for name in weights}, progress)
    snapshot = Path(client.snapshot_download(hub_id, allow_patterns=[*texts, *weights], tqdm_class=_silent()))
    for name in texts:
        _check(snapshot / name, files[name])
    return snapshot


def _weights(hub_id: str, present: set[str], precision: str) -> list[str]:
    """Return the files with the weights, for this processor."""
    wanted = [*(eight_bit_names() if precision == "int8" else ()), ONNX_FILE, WEIGHTS_FILE]
    first = next((file for file in wanted if file in present), None)
    if first is None:
        raise ModelInvalidError(
            f"{hub_id} holds neither {ONNX_FILE} nor {WEIGHTS_FILE}; secondpass reads nothing else"
        )
    beside = (f"{first}{end}" for end in ("_data", ".data"))
    return [first, *(file for file in beside if file in present)]


def _fetch_weights(hub_id: str, revision: str, files: Mapping[str, Any], progress: Progress | None) -> None:
    """Put weights where the hub's client looks for what is here already."""
    from huggingface_hub import file_download

    blobs = cache_dir() / file_download.repo_folder_name(repo_id=hub_id, repo_type="model") / "blobs"
    total, done = sum(int(file.size or 0) for file in files.values()), 0
    for name, file in files.items():
        if file.lfs is None or not file.lfs.sha256:
            continue  # small enough to lie in git itself: fetched and checked with the text files
        before = done

        def shown(here: int, before: int = before) -> None:
            if progress is not None:
                progress(before + here, total)

        size, sha256 = int(file.lfs.size), str(file.lfs.sha256)
        fetch(_opener(hub_id, name, revision), blobs / sha256, size, sha256, shown)
        done += size
        shown(0, done)


def _refuse_code(hub_id: str, revision: str) -> None:
    """Look into ``config.json`` before gigabytes are fetched that could not be used."""
    import huggingface_hub as client

    file = client.hf_hub_download(hub_id, "config.json", revision=revision, tqdm_class=_silent())
    config = json.loads(Path(file).read_text(encoding="utf-8"))
    if isinstance(config, dict) and needs_code(config):
        raise ModelInvalidError(
            f"{hub_id} is {architecture_of(config)}, which needs code from its own repository, and "
            f"secondpass never runs such code. With {ONNX_FILE} it could be used; the repository has none"
        )


def _opener(hub_id: str, name: str, revision: str) -> Callable[[int], contextlib.AbstractContextManager[Any]]:
    import huggingface_hub as client
    from huggingface_hub import constants

    utils: Any = importlib.import_module("huggingface_hub.utils")
    url = client.hf_hub_url(hub_id, name, revision=revision)

    @contextlib.contextmanager
    def open_at(start: int) -> Iterator[Any]:
        headers = {**utils.build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        wait = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        with client.get_session().stream("GET", url, headers=headers, timeout=wait) as response:
            if response.status_code >= 400:
                response.read()
            if response.status_code in (401, 403, 404, 410, 416):
                with _told(hub_id):
                    utils.hf_raise_for_status(response)
            utils.hf_raise_for_status(response)  # others may pass: tried again
            yield response

    return open_at


def _check(file: Path, described: Any) -> None:
    """Compare a small file with what the hub says of it; delete it where it is another.

    Raises:
        ModelInvalidError: it is another, or the hub said nothing.
    """
    checksum = described.lfs.sha256 if described.lfs is not None else described.blob_id
    if not checksum:
        raise ModelInvalidError(f"the hub gave no checksum for {file.name}; it cannot be trusted")
    try:
        check_content(file, str(checksum))
    except ModelInvalidError:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _told(hub_id: str) -> Iterator[None]:
    """Turn what the hub's client raises into our errors, which say what to do."""
    from huggingface_hub import errors

    try:
        yield
    except ModelError:
        raise
    except errors.GatedRepoError as exc:
        raise ModelNotFoundError(
            f"{hub_id} is gated: accept its terms on its page at the hub, then: hf auth login"
        ) from exc
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as exc:
        raise ModelNotFoundError(
            f"the hub has no public model {hub_id!r}; check the name, or log in with: hf auth login"
        ) from exc
    except errors.OfflineModeIsEnabled as exc:
        raise ModelNotFoundError(
            f"{hub_id} is not on this machine and HF_HUB_OFFLINE is set; unset it to download"
        ) from exc
    except Exception as exc:  # its types vary by version
        if getattr(getattr(exc, "response", None), "status_code", None) in (401, 403):
            raise ModelNotFoundError(
                f"the hub refuses access to {hub_id}: log in with: hf auth login, or mend HF_TOKEN"
            ) from exc
        raise _unreachable(hub_id, exc) from exc


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
