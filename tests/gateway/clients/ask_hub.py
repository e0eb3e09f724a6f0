"""Ask a URL with Hugging Face's client and print JSON. usage: ask_hub.py URL TEXT"""

import json
import sys
from dataclasses import asdict
from typing import Any

from huggingface_hub import InferenceClient


def main() -> None:
    """Print the label and score that the client returns."""
    url, text = sys.argv[1:]
    # Annotated as a list, but of TEI's flat array for one text it returns the first element.
    best: Any = InferenceClient(url, token="any").text_classification(text)
    json.dump(asdict(best), sys.stdout)


main()
