"""A bag of words: what the embedded baseline and the contender of the same name count."""

from typing import Any

from pelt_automl.tasks.examples import Examples


def word_weights(**options: Any) -> Any:
    """TF-IDF weights of words and pairs of words, rows of length 1, as scikit-learn's vectorizer. `options`: more of its arguments."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    # One-letter words are kept, so that no text with words is left without any.
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", **options)  # noqa: S106


def joined(examples: Examples) -> list[str]:
    """Each example as one text; of a pair one text after the other."""
    return [" ".join(texts) for texts in examples.texts]
