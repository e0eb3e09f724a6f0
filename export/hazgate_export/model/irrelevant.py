"""Fields of configurations that have no effect on a classifier's logits."""

from collections.abc import Mapping

# Fields that only training reads, and that `finetune` keeps.
DROPOUT = frozenset(
    (
        "attention_dropout",
        "attention_probs_dropout_prob",
        "classifier_dropout",
        "cls_dropout",
        "embedding_dropout",
        "hidden_dropout_prob",
        "mlp_dropout",
        "pooler_dropout",
        "summary_last_dropout",
    )
)
# By the reason.
IRRELEVANT: Mapping[str, frozenset[str]] = {
    "training": DROPOUT
    | {
        "gradient_checkpointing",
        "initializer_cutoff_factor",
        "initializer_range",
        "problem_type",
        "repad_logits_with_grad",
        "tf_legacy_loss",
    },
    "the way to compute": frozenset(
        (
            "_attn_implementation",
            "_attn_implementation_autoset",
            "attn_implementation",
            "chunk_size_feed_forward",
            "deterministic_flash_attn",
            "output_attentions",
            "output_hidden_states",
            "reference_compile",
            "return_dict",
            "torchscript",
            "use_cache",
            "use_return_dict",
        )
    ),
    "heads of other tasks": frozenset(
        (
            "decoder_bias",
            "legacy",
            "output_past",
            "sparse_pred_ignore_index",
            "sparse_prediction",
            "tie_word_embeddings",
        )
    ),
    "labels, which have a reader of their own": frozenset(("id2label", "label2id", "num_labels")),
    "notes on the file": frozenset(
        (
            "_commit_hash",
            "_name_or_path",
            "architectures",
            "finetuning_task",
            "language",
            "model_name",
            "name",
            "prefix",
            "task_specific_params",
            "tokenizer_class",
            "transformers_version",
        )
    ),
    "generation": frozenset(
        (
            "bad_words_ids",
            "begin_suppress_tokens",
            "decoder_start_token_id",
            "diversity_penalty",
            "do_sample",
            "early_stopping",
            "encoder_no_repeat_ngram_size",
            "exponential_decay_length_penalty",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "length_penalty",
            "max_length",
            "min_length",
            "no_repeat_ngram_size",
            "num_beam_groups",
            "num_beams",
            "num_return_sequences",
            "output_scores",
            "remove_invalid_values",
            "repetition_penalty",
            "return_dict_in_generate",
            "suppress_tokens",
            "temperature",
            "top_k",
            "top_p",
            "typical_p",
        )
    ),
}
# Fields that published files of one family carry and that none of its releases reads.
FAMILY_IRRELEVANT: Mapping[str, frozenset[str]] = {
    "modernbert": frozenset(("position_embedding_type",)),
    "bert": frozenset(
        (
            "directionality",
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
        )
    ),
    "roberta": frozenset(),
    "xlm-roberta": frozenset(),
    "deberta-v2": frozenset(("padding_idx", "position_embedding_type")),
}
