"""GraphQL with graphql-core: the schema, documents that are parsed and validated once, and GraphQL over HTTP."""
