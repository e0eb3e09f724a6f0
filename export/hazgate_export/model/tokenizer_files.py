"""Tokenizer files as transformers 4 and 5 save them, compared with the model's configuration."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hazgate.documents.files import read_bytes
from hazgate.documents.jsonl import parse_json
from hazgate_export.errors import SourceError
from hazgate_export.model.config import ModelConfig

_ROLES = ("pad", "bos", "eos", "cls", "sep", "unk", "mask")
# Roles that may open or close a text; files name the same token by either.
_OPENING, _CLOSING = ("bos", "cls"), ("eos", "sep")


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerFiles:
    """The tokenizer beside a model's weights.

    Attributes:
        id: name of the model, for errors.
        directory: holds `tokenizer.json`.
        settings: `tokenizer_config.json`; empty if there is none.
        ids: every token of the vocabulary, added ones included, and its id.
        roles: the special tokens that the settings state, by role.
        opening: ids that it puts before a text.
        closing: ids that it puts behind a text.
    """

    id: str
    directory: Path
    settings: Mapping[str, Any]
    ids: Mapping[str, int]
    roles: Mapping[str, str]
    opening: tuple[int, ...]
    closing: tuple[int, ...]


def read_tokenizer_files(directory: Path, id: str) -> TokenizerFiles | None:  # noqa: A002
    """Read the tokenizer in a model's directory; None if it has none.

    Padding and truncation in the file are limits of a training run: they count for nothing here.

    Raises:
        SourceError: a file is malformed.
    """
    file = directory / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        fast = Tokenizer.from_file(str(file))
    except Exception as error:  # the binding raises plain Exception
        raise SourceError(f"{id}: its tokenizer.json is not a tokenizer file: {error}") from error
    fast.no_truncation()
    fast.no_padding()
    encoded = fast.encode("a")
    own = [i for i, sequence in enumerate(encoded.sequence_ids) if sequence is not None]
    # A vocabulary without the letter leaves only what surrounds a text: then all of it opens.
    first, last = (own[0], own[-1] + 1) if own else (len(encoded.ids), len(encoded.ids))
    settings = _settings(directory, id)
    named = {role: _content(settings.get(f"{role}_token")) for role in _ROLES}
    return TokenizerFiles(
        id=id,
        directory=directory,
        settings=settings,
        ids=fast.get_vocab(with_added_tokens=True),
        roles={role: token for role, token in named.items() if token is not None},
        opening=tuple(encoded.ids[:first]),
        closing=tuple(encoded.ids[last:]),
    )


def check_tokenizer_files(
    chosen: TokenizerFiles, base: TokenizerFiles | None, config: ModelConfig
) -> None:
    """Check the tokenizer of a level against the base's and against the configuration.

    Raises:
        SourceError: its ids are not those that the model was trained with; names every reason.
    """
    problems = list(_against_config(chosen, config))
    if base is not None and base.directory != chosen.directory:
        problems += _against_base(chosen, base)
    if problems:
        raise SourceError(
            f"{chosen.id}: its tokenizer cannot be used:\n"
            + "\n".join(f"  - {problem}" for problem in problems)
            + "\nSave the tokenizer that the model was trained with next to its weights."
        )


def reference_tokenizer(directory: Path, id: str) -> PreTrainedTokenizerFast:  # noqa: A002
    """Load a tokenizer as transformers does that saved it.

    `TokenizersBackend`, the plain tokenizer of transformers 5, is transformers 4's
    `PreTrainedTokenizerFast`; lists of special tokens are among the file's added tokens.

    Raises:
        SourceError: transformers cannot load it.
    """
    settings = _settings(directory, id)
    is_plain = not settings or settings.get("tokenizer_class") == "TokenizersBackend"
    try:
        if is_plain or isinstance(settings.get("extra_special_tokens"), list):
            named = {f"{r}_token": _content(settings.get(f"{r}_token")) for r in _ROLES}
            return PreTrainedTokenizerFast(
                tokenizer_file=str(directory / "tokenizer.json"),
                **{name: token for name, token in named.items() if token is not None},
            )
        loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
            directory,
            use_fast=True,
            local_files_only=True,
            trust_remote_code=False,
            # Said, for else transformers 4.57 warns of every large local vocabulary that it is
            # a wrong Mistral's.
            fix_mistral_regex=settings.get("fix_mistral_regex", False),
        )
    except Exception as error:  # any class of any release's tokenizers
        raise SourceError(
            f"{id}: transformers cannot load its tokenizer: {error}; save it again with "
            "transformers 4 or 5"
        ) from error
    return loaded


def _settings(directory: Path, id: str) -> Mapping[str, Any]:  # noqa: A002
    file = directory / "tokenizer_config.json"
    if not file.is_file():
        return {}
    source = f"{id}: its tokenizer_config.json"
    found = parse_json(read_bytes(file, error=SourceError), source=source, error=SourceError)
    if not isinstance(found, dict):
        raise SourceError(f"{source}: expected an object, got {type(found).__name__}")
    return found


def _content(token: object) -> str | None:
    """Return a special token's text; files state it alone or in an object."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _against_config(chosen: TokenizerFiles, config: ModelConfig) -> Iterator[str]:
    rows = config.architecture.vocab_size
    most = max(chosen.ids.values(), default=0)
    if most >= rows:
        n_beyond = sum(i >= rows for i in chosen.ids.values())
        yield (
            f"{n_beyond} of its tokens, with ids up to {most}, have no row in the embeddings, "
            f"which have {rows}"
        )
    pad = chosen.ids.get(chosen.roles.get("pad", ""))
    if pad is not None and config.token_ids.get("pad") not in (None, pad):
        yield f"its pad token is {pad}, config.json says {config.token_ids['pad']}"
    if not chosen.opening and not chosen.closing:
        yield (
            "it puts no special token before or behind a text: its post_processor is lost, or "
            "never was"
        )
        return
    for roles, where, got in (
        (_OPENING, "before", chosen.opening[:1]),
        (_CLOSING, "behind", chosen.closing[-1:]),
    ):
        stated = {role: config.token_ids[role] for role in roles if role in config.token_ids}
        if stated and (not got or got[0] not in stated.values()):
            named = " and ".join(f"{role}_token_id {i}" for role, i in stated.items())
            shown = got[0] if got else "nothing"
            yield f"it puts {shown} {where} a text, config.json says {named}"


def _against_base(chosen: TokenizerFiles, base: TokenizerFiles) -> Iterator[str]:
    for where, own, others in (
        ("before", chosen.opening, base.opening),
        ("behind", chosen.closing, base.closing),
    ):
        if own != others:
            yield f"it puts {list(own)} {where} a text, {base.id}'s puts {list(others)}"
    for role in _ROLES:
        own_token, other = chosen.roles.get(role), base.roles.get(role)
        if own_token is not None and other is not None and own_token != other:
            yield f"its {role} token is {own_token!r}, {base.id}'s is {other!r}"
    moved = sorted(t for t, i in chosen.ids.items() if base.ids.get(t, i) != i)
    if moved:
        first = moved[0]
        yield (
            f"{len(moved)} of its tokens have other ids than {base.id}'s, e.g. {first!r} is "
            f"{chosen.ids[first]} and {base.ids[first]}"
        )
