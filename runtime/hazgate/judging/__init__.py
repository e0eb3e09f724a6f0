"""From logits to a verdict: scores, policies, taxonomies. Pure."""
