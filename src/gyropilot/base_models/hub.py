"""Fetches a model from the model hub; the only file that does, and only where the operator allows downloads."""

from __future__ import annotations

from pathlib import Path

from gyropilot.base_models.progress import Progress
from gyropilot.errors import InvalidData, MissingExtra

ALLOWED_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
TIMEOUT_SECONDS = 30


def fetch(hub_id: str, revision: str, scratch: Path, on_progress: Progress) -> tuple[Path, str]:
    """Give a new folder below `scratch` with the usable files of a repository, and the commit they are of.

    Args:
        hub_id: owner/name.
        revision: branch, tag or commit; resolved to a commit first, so that one state is fetched.
        scratch: an empty folder of the caller's.
        on_progress: hears the phase.

    Raises:
        InvalidData: the repository cannot be had; says why.
        MissingExtra: huggingface_hub is not installed.
    """
    try:
        import httpx
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtra("llm", "fetching from the model hub") from error
    folder = scratch / "hub"
    on_progress(f"downloading {hub_id}", 0, 0)
    try:
        info = huggingface_hub.HfApi().model_info(hub_id, revision=revision, timeout=TIMEOUT_SECONDS)
        commit = str(info.sha)
        huggingface_hub.snapshot_download(
            hub_id,
            revision=commit,
            local_dir=folder,
            allow_patterns=list(ALLOWED_FILES),
            etag_timeout=TIMEOUT_SECONDS,
        )
    except errors.GatedRepoError as error:
        raise InvalidData(
            where=hub_id,
            problem="the hub gives this model only to accounts that accepted its licence",
            fix="accept it on the model's page, then log in (hf auth login) and pull again",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise InvalidData(
            where=hub_id, found=revision, problem="the hub has no such model or revision", fix="check the name"
        ) from error
    except (httpx.HTTPError, ValueError, RuntimeError, OSError) as error:  # the hub's own are kinds of these
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise InvalidData(
            where=hub_id,
            problem=f"could not be fetched from the hub: {reason}",
            fix="check the network, or fetch it elsewhere and register the folder: gyropilot models add NAME FOLDER",
        ) from error
    return folder, commit
