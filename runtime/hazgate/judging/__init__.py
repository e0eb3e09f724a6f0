"""The step from logits to a verdict: scores, policies, taxonomies. Pure."""
