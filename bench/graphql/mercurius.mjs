// mercurius on fastify, with its JIT from the first request on.
import Fastify from 'fastify'
import mercurius from 'mercurius'
import { executionStatus, port, typeDefs, user } from './upstream.mjs'

const app = Fastify({ logger: false })
app.addHook('onRequest', async (request, reply) => {
  request.user = user(request.headers.authorization)
  if (!request.user) return reply.code(401).send({ error: 'Unauthorized' })
})
app.register(mercurius, {
  schema: typeDefs,
  resolvers: { Query: { executionStatus: (_, { executionId }) => executionStatus(executionId) } },
  jit: 1,
  graphiql: false,
  context: (request) => ({ user: request.user })
})
await app.listen({ host: '127.0.0.1', port })
