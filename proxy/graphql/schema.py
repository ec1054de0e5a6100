"""The schema: `schema.graphql` with its resolvers attached."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from graphql import GraphQLObjectType, GraphQLSchema, build_schema

from proxy.graphql.resolvers import MUTATION, QUERY, SUBSCRIPTION


def make_schema() -> GraphQLSchema:
    """Build the schema.

    Raises:
        KeyError: a root field has no resolver.
    """
    schema = build_schema(files("proxy.graphql").joinpath("schema.graphql").read_text("utf-8"))
    for kind, resolvers in ((schema.query_type, QUERY), (schema.mutation_type, MUTATION)):
        _attach(kind, resolvers, "resolve")
    _attach(schema.subscription_type, SUBSCRIPTION, "subscribe")
    return schema


def _attach(kind: GraphQLObjectType | None, resolvers: dict[str, Any], slot: str) -> None:
    if kind is None:
        raise KeyError("the schema has no root type")
    for name, field in kind.fields.items():
        setattr(field, slot, resolvers[name])
