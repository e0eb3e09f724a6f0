"""The questions that texts become: checked, tokenised, or known to a store of logits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hazgate.engine.logit_store import NOBODY, LogitStore, Owner
from hazgate.judging.judgement import Terms
from hazgate.judging.verdict import Language
from hazgate.text.languages import Vouching, language_of
from hazgate.text.outline import pack, unpack
from hazgate.text.prefix import STEP, Prefix, ends_of_prefixes, grown, prefix_of
from hazgate.text.reading import Reading, check_sizes, choose_windows
from hazgate.text.tokenization import TextTokens, Tokenizer, Tokens, as_texts
from hazgate.text.view_windows import has_views, with_views

# To judge a text whose windows are all known takes a small model as long as so many tokens.
TOKENS_PER_ANSWER = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A checked and tokenised text, with the terms that judge it.

    `ask` of a gate or a level makes it; only the `answer` of the same one takes it. `levels` names
    the levels beside the cascade that are asked for. `owner` is the caller, who alone gets from a
    store what was read for it. With `keys`, the text is known, or its beginning: windows without
    token ids had their logits in the store under these keys. `language` marks a text in a language
    that the bundle does not vouch for. `flags_from` is the log-odds from which Level 1 flags the
    text, if its windows may leave early; None if they must be read whole.
    """

    text: str
    tokens: Tokens
    terms: tuple[Terms, ...]
    all_levels: bool
    levels: tuple[str, ...] = ()
    owner: Owner = NOBODY
    keys: tuple[bytes, ...] = ()
    language: Language | None = None
    flags_from: float | None = None

    @property
    def n_tokens(self) -> int:
        """Tokens that the first level reads, over all windows, special tokens included."""
        return sum(len(window.input_ids) for window in self.tokens.every_window)


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownTexts:
    """The texts that a store knows at one level, by their owners.

    Attributes:
        store: keeps logits of windows, and outlines of texts.
        source: all that logits depend on besides token ids.
        tokenizer: cuts the windows.
        reading: the treatment of long texts.
    """

    store: LogitStore
    source: tuple[str, ...]
    tokenizer: Tokenizer
    reading: Reading

    def of(self, flags_from: float | None) -> "KnownTexts":
        """Return what is known of texts of a kind: those that may leave early, or all others.

        They never share windows: the logits of one that left say less.

        Args:
            flags_from: as of `Question`.
        """
        return self if flags_from is None else replace(self, source=(*self.source, "early"))

    def window_keys(self, tokens: Tokens, owner: Owner) -> list[bytes]:
        """Return the store's keys of a text's windows."""
        return self.store.keys(self.source, owner, [each.input_ids for each in tokens.every_window])

    def tokens(
        self, text: str, owner: Owner, views: Sequence[str]
    ) -> tuple[Tokens, tuple[bytes, ...]] | None:
        """Return a text's windows and their keys, if the logits of all are kept.

        Of a long text, the windows of its beginning may be known, and its end is tokenised. No
        text with views of some of the kinds `views` is known.
        """
        outline = self.store.outline(self._outline_key(text, owner, views=views))
        if outline is not None:
            tokens, keys = unpack(outline)
            return (tokens, keys) if all(self.store.has(keys)) else None
        can_grow = self.tokenizer.reads_words_apart and self.reading.long_texts == "window"
        if not can_grow or len(text) < 2 * STEP or has_views(text, views):
            return None
        return self._grown(text, owner)

    def keep(self, text: str, tokens: Tokens, owner: Owner, views: Sequence[str]) -> None:
        """Keep where the windows of a text are that was tokenised, if it has no views."""
        if not tokens.views and not tokens.views_left_out:
            outline = pack(tokens, self.window_keys(tokens, owner))
            self.store.keep_outline(self._outline_key(text, owner, views=views), outline)

    def n_tokens_to_read(self, question: Question) -> int:
        """Return the tokens of a question whose logits are not kept, and at least some.

        An answer has its cost, too: that of TOKENS_PER_ANSWER.
        """
        windows = question.tokens.every_window
        known = self.of(question.flags_from)
        keys = question.keys or known.window_keys(question.tokens, question.owner)
        n_tokens = sum(
            len(window.input_ids)
            for window, is_kept in zip(windows, self.store.has(keys), strict=True)
            if not is_kept
        )
        return max(n_tokens, TOKENS_PER_ANSWER)

    def _grown(self, text: str, owner: Owner) -> tuple[Tokens, tuple[bytes, ...]] | None:
        """Return a long text's tokens and its windows' keys, and keep those of its beginning.

        None if the tokenizer does not know all of it.
        """
        tokenizer, ends = self.tokenizer, ends_of_prefixes(text)
        found: tuple[Tokens, TextTokens] | None = None
        before: Prefix | None = None
        for end in ends:
            packed = self.store.outline(self._outline_key(text[:end], owner, begins=True))
            before = None if packed is None else Prefix.unpack(packed)
            if before is not None and all(self.store.has(before.keys)):
                found = grown(text, before, tokenizer)
                break
        if found is None:
            before, found = None, tokenizer.encode_long(text)
            if not tokenizer.knows_all(found[1]):
                return None
        tokens, read = found
        keys = tuple(self.window_keys(tokens, owner))
        if before is not None:
            keys = before.keys_among(keys, len(tokens.windows))
        prefix = prefix_of(tokens, keys, read, tokenizer, ends[0], before) if ends else None
        if prefix is not None:
            self.store.keep_outline(
                self._outline_key(text[: ends[0]], owner, begins=True), prefix.pack()
            )
        return tokens, keys

    def _outline_key(
        self, text: str, owner: Owner, *, views: Sequence[str] = (), begins: bool = False
    ) -> bytes:
        """Return the key of a text, or of a longer one's beginning, and of the way it is cut.

        Args:
            text: the text.
            owner: whose it is.
            views: kinds of disguise that the text was found not to have.
            begins: the text is the beginning of a longer one.
        """
        cut = self.tokenizer
        sizes = (cut.window_tokens, cut.overlap_tokens, cut.close_tokens, cut.alone_tokens)
        source = (*self.source, repr((begins, sizes, self.reading, tuple(views))))
        return self.store.text_key(source, owner, text)


def questions(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    reading: Reading,
    *,
    terms: Sequence[tuple[Terms, ...]] | None = None,
    all_levels: bool = False,
    levels: tuple[str, ...] = (),
    owner: Owner = NOBODY,
    tokens: Sequence[Tokens | None] = (),
    known: KnownTexts | None = None,
    views: Sequence[str] = (),
    vouching: Vouching | None = None,
    flags_from: Sequence[float | None] = (),
) -> list[Question]:
    """Check and tokenise texts.

    Args:
        texts: any number of strings.
        tokenizer: cuts their windows.
        reading: the treatment of long texts.
        terms: the terms that judge each text; None judges none.
        all_levels: as in `Question`.
        levels: as in `Question`.
        owner: as in `Question`.
        tokens: of texts that `tokenizer` has read already; empty, or None, for others.
        known: texts that need not be tokenised again; None tokenises all.
        views: kinds of disguise to undo beside each text.
        vouching: the languages that are vouched for; None marks no text.
        flags_from: of each text, as in `Question`; empty for no text that may leave early.

    Raises:
        InputError: an element is not a well-formed string, or is too long; says which.
    """
    texts = as_texts(texts)
    check_sizes(texts, reading)
    given = list(tokens) or [None] * len(texts)
    from_ = list(flags_from) or [None] * len(texts)
    kept: dict[int, tuple[Tokens, tuple[bytes, ...]]] = {}
    if known is not None:
        for i, text in enumerate(texts):
            found = None if given[i] else known.of(from_[i]).tokens(text, owner, views)
            if found is not None:
                kept[i] = found
    new = [i for i in range(len(texts)) if i not in kept and given[i] is None]
    encoded = dict(zip(new, tokenizer.encode_checked([texts[i] for i in new]), strict=True))
    # In the order of the texts, for errors name them by their index.
    every = choose_windows(
        [kept[i][0] if i in kept else given[i] or encoded[i] for i in range(len(texts))], reading
    )
    every = [
        of_text if i in kept else with_views(texts[i], of_text, tokenizer, views)
        for i, of_text in enumerate(every)
    ]
    if known is not None:
        for i in new:
            known.of(from_[i]).keep(texts[i], every[i], owner, views)
    return [
        Question(
            text=text,
            tokens=every[i],
            terms=terms[i] if terms else (),
            all_levels=all_levels,
            levels=levels,
            owner=owner,
            keys=kept[i][1] if i in kept else (),
            language=language_of(text, every[i], vouching, views),
            flags_from=from_[i],
        )
        for i, text in enumerate(texts)
    ]
