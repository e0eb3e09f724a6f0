"""The page "What is read" is what the reader's table says."""

from hazgate.serving.bodies.table import APIS
from tests.support.reading_page import PAGE, reading_page


def test_the_page_is_made_from_the_table() -> None:
    made = "run python -m tests.support.reading_page"
    assert PAGE.read_text(encoding="utf-8") == reading_page(), made


def test_every_field_and_every_type_without_text_is_on_the_page() -> None:
    page = reading_page()
    for api in APIS:
        section = page.partition(f"## {api.name[:1].upper()}{api.name[1:]}\n")[2]
        section = section.partition("\n## ")[0]
        missing = [key for _, key in api.fields if f"`{key}`" not in section]
        missing += [name for name in api.media if f"`{name}`" not in section]
        assert not missing, (api.name, missing)
