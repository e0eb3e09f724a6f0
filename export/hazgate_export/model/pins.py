"""Tables of a recipe that pin every file of its sources, to paste after a build."""

import json
from collections.abc import Mapping

from hazgate_export.model.sources import Fetched, LevelSources
from hazgate_export.recipe import (
    BlocksSource,
    DirectorySource,
    HubSource,
    PackageSource,
    Recipe,
    Source,
)


def pins_to_paste(recipe: Recipe, sources: Mapping[str, LevelSources]) -> str:
    """Write the sources that pin no digests as TOML tables that do; "" if all do."""
    tables = {}
    for name, fetched in sources.items():
        level = recipe.levels[name]
        if fetched.adapter is None:
            tables[f"levels.{name}.checkpoint"] = (level.source, fetched.base)
        elif recipe.base.source is not None:
            tables["base.source"] = (recipe.base.source, fetched.base)
            tables[f"levels.{name}.adapter"] = (level.source, fetched.adapter)
    return "\n\n".join(
        _table(place, source, fetched)
        for place, (source, fetched) in tables.items()
        if not source.files
    )


def _table(place: str, source: Source, fetched: Fetched) -> str:
    # A JSON string is a TOML string, too.
    lines = [f"{key} = {json.dumps(value)}" for key, value in _keys(source, fetched).items()]
    lines += [f"files.{json.dumps(name)} = {json.dumps(d)}" for name, d in fetched.files.items()]
    return "\n".join([f"[{place}]", *lines])


def _keys(source: Source, fetched: Fetched) -> dict[str, str]:
    if isinstance(source, HubSource):
        # A commit that stood for a branch is pinned as well.
        return {"hub": source.hub, "revision": fetched.revision or source.revision}
    if isinstance(source, PackageSource):
        return {"package": source.package, "folder": source.folder}
    if isinstance(source, BlocksSource):
        return {
            "blocks": source.blocks,
            "package": source.package,
            "tokenizer": source.tokenizer,
            "tokenizer_package": source.tokenizer_package,
        }
    assert isinstance(source, DirectorySource)
    return {"directory": source.directory.as_posix()}
