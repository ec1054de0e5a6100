"""Makes what a configuration says about documents: the limits, the cache, and which documents may run."""

from __future__ import annotations

from pathlib import Path

from graphql import GraphQLSchema

from proxy.config.model import Graphql
from proxy.graphql.documents import Documents
from proxy.graphql.limits import DocumentLimits
from proxy.graphql.persisted import AnyDocuments, Library, PersistedQueries
from proxy.graphql.schema import make_schema
from proxy.graphql.trusted import Trusted, load_trusted, read_trusted


def make_library(schema: GraphQLSchema, settings: Graphql, folder: Path) -> Library:
    """The documents of an endpoint. `folder` is that of the configuration file. Raises ConfigError."""
    if settings.trusted_documents is not None:
        return load_trusted(folder / settings.trusted_documents, _unhurried(schema, settings))
    documents = Documents(
        schema,
        _limits(settings),
        cache=settings.document_cache,
        suggestions=settings.suggestions,
        seconds=settings.validation_timeout,
    )
    return AnyDocuments(documents, PersistedQueries(settings.apq_size) if settings.apq else None)


def check_trusted(settings: Graphql, folder: Path) -> Trusted:
    """What the folder of trusted documents holds, and what is wrong with it; nothing if there is none."""
    if settings.trusted_documents is None:
        return Trusted()
    return read_trusted(folder / settings.trusted_documents, _unhurried(make_schema(), settings))


def _unhurried(schema: GraphQLSchema, settings: Graphql) -> Documents:
    """For trusted documents: within the limits like all others, but nobody waits for them."""
    return Documents(schema, _limits(settings), cache=0, suggestions=settings.suggestions)


def _limits(settings: Graphql) -> DocumentLimits:
    limits = settings.limits
    return DocumentLimits(
        limits.size, limits.tokens, limits.depth, limits.aliases, limits.root_fields, limits.directives, limits.cost
    )
