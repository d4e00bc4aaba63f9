"""Turns a column of text into features: weights of its terms, or their strongest directions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from gyropilot.problems.tabular.hpo.fold_models import Floats

_MOST_TERMS = 5000
_MOST_TOPICS = 32
_LENGTHS = 2


class TextTerms(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Gives tf-idf of the words, and pairs of them, of one column, and its length in characters and words."""

    def fit(self, features: pd.DataFrame, target: object = None) -> TextTerms:
        """Learn the terms."""
        texts = _texts(features)
        vectorizer = TfidfVectorizer(
            max_features=_MOST_TERMS, ngram_range=(1, 2), sublinear_tf=True, min_df=2, dtype=np.float32
        )
        try:
            self.vectorizer_ = vectorizer.fit(texts)
        except ValueError:
            # No word stands in two rows: only the lengths can tell.
            self.vectorizer_ = None
        return self

    def transform(self, features: pd.DataFrame) -> scipy.sparse.csr_matrix:
        """Give [row, term and length]."""
        texts = _texts(features)
        lengths = scipy.sparse.csr_matrix(_lengths(texts))
        if self.vectorizer_ is None:
            return lengths
        return scipy.sparse.hstack([self.vectorizer_.transform(texts), lengths], format="csr")


class TextTopics(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Gives the strongest directions of one column's tf-idf, and its length in characters and words."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, features: pd.DataFrame, target: object = None) -> TextTopics:
        """Learn the terms and the directions."""
        self.terms_ = TextTerms().fit(features)
        matrix = self.terms_.transform(features)[:, :-_LENGTHS]
        count = min(_MOST_TOPICS, matrix.shape[1] - 1, matrix.shape[0] - 1)
        self.directions_ = TruncatedSVD(count, random_state=self.seed).fit(matrix) if count > 0 else None
        return self

    def transform(self, features: pd.DataFrame) -> Floats:
        """Give [row, direction and length]."""
        matrix = self.terms_.transform(features)
        lengths = matrix[:, -_LENGTHS:].toarray()
        if self.directions_ is None:
            return np.asarray(lengths, dtype=np.float64)
        topics = self.directions_.transform(matrix[:, :-_LENGTHS])
        return np.concatenate([topics, lengths], axis=1).astype(np.float64)


def _texts(features: pd.DataFrame) -> list[str]:
    return [text if isinstance(text, str) else "" for text in features.iloc[:, 0]]


def _lengths(texts: list[str]) -> npt.NDArray[np.float32]:
    """Give log lengths in characters and words: [row, 2], about 0 to 2."""
    counts = np.asarray([(len(text), len(text.split())) for text in texts], dtype=np.float32).reshape(-1, _LENGTHS)
    return np.asarray(np.log1p(counts) / 5, dtype=np.float32)
