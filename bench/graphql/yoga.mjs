// graphql-yoga on Node's own HTTP server, as its documentation sets it up; parsed and validated documents are cached.
import { createServer } from 'node:http'
import { createSchema, createYoga } from 'graphql-yoga'
import { executionStatus, port, typeDefs, user } from './upstream.mjs'

const yoga = createYoga({
  schema: createSchema({
    typeDefs,
    resolvers: { Query: { executionStatus: (_, { executionId }) => executionStatus(executionId) } }
  }),
  logging: false,
  graphiql: false,
  landingPage: false
})
createServer((request, response) => {
  const found = user(request.headers.authorization)
  if (!found) {
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"error":"Unauthorized"}')
    return
  }
  yoga(request, response, { user: found })
}).listen(port, '127.0.0.1')
