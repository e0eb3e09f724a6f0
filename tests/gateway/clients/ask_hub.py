"""What Hugging Face's client makes of texts sent to a URL, as JSON. usage: ask_hub.py URL TEXT"""

import json
import sys
from dataclasses import asdict
from typing import Any

from huggingface_hub import InferenceClient


def main() -> None:
    """Prints the label and score that the client returns."""
    url, text = sys.argv[1:]
    # Annotated as a list; of the flat array that TEI answers for one text it takes the first.
    best: Any = InferenceClient(url, token="any").text_classification(text)
    json.dump(asdict(best), sys.stdout)


main()
