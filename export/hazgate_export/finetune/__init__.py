"""Training of a level's LoRA adapter from labelled rows, by the recipe's own table.

`run.finetune_level` is the way in; `settings.FinetuneSettings` is the recipe's table and loads
no training library, so that reading a recipe stays quick.
"""
