"""A classifier behind FastAPI with Optimum, as one writes it in half an hour.

    python optimum_server.py FOLDER --file model.onnx --port 8000 --threads 2

The endpoint is synchronous, so FastAPI runs it on its pool of threads: requests share one session
and run at the same time, unbatched. There is no queue, no deadline and no refusal.
"""

from pathlib import Path

import click
import onnxruntime
import uvicorn
from fastapi import FastAPI
from optimum.onnxruntime import ORTModelForSequenceClassification
from pydantic import BaseModel
from transformers import AutoTokenizer


class Query(BaseModel):
    """One text."""

    text: str


class Answer(BaseModel):
    """Probabilities by label."""

    scores: dict[str, float]


def create_app(folder: Path, file: str, threads: int) -> FastAPI:
    """Return an application over the ONNX file and the tokenizer in `folder`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = ORTModelForSequenceClassification.from_pretrained(
        folder, file_name=file, session_options=options, local_files_only=True
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/classify")
    def classify(query: Query) -> Answer:
        inputs = tokenizer(query.text, truncation=True, return_tensors="pt")
        (scores,) = model(**inputs).logits.softmax(dim=-1).tolist()
        return Answer(scores={model.config.id2label[i]: score for i, score in enumerate(scores)})

    return app


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--file", required=True, help="The ONNX file in FOLDER.")
@click.option("--port", type=int, required=True)
@click.option("--threads", type=click.IntRange(min=1), required=True)
def main(folder: Path, file: str, port: int, threads: int) -> None:
    """Serve the classifier in FOLDER."""
    uvicorn.run(create_app(folder, file, threads), port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
