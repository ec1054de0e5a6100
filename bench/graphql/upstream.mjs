// What both Node servers share: the session check, the calls to the upstream, and the shape of the answer.
// The upstream is asked exactly as often as noetl-edge asks it: the detail once for each execution, as its playbook
// never changes, and again only where the status answer does not tell all; the status each time.
import { readFileSync } from 'node:fs'
import { Pool } from 'undici'

const upstream = new Pool(process.env.UPSTREAM, { connections: 128, pipelining: 1 })
const sessions = new Map([[process.env.SESSION_TOKEN, { userId: 1, email: 'dev@example.com' }]])
const paths = new Map()
const words = {
  pending: 'pending', queued: 'pending', started: 'running', running: 'running', completed: 'completed',
  succeeded: 'completed', failed: 'failed', error: 'failed', cancelled: 'cancelled', canceled: 'cancelled'
}
const ended = new Set(['completed', 'failed', 'cancelled'])
const ids = /^[0-9]{1,20}$/

export const port = Number(process.env.PORT)
export const typeDefs = readFileSync(new URL('schema.graphql', import.meta.url), 'utf8')

export function user (authorization) {
  return authorization?.startsWith('Bearer ') ? sessions.get(authorization.slice(7)) : undefined
}

async function get (path) {
  const { statusCode, body } = await upstream.request({ path, method: 'GET', headers: { accept: 'application/json' } })
  const answer = await body.json()
  if (statusCode !== 200) throw new Error(`upstream status ${statusCode}`)
  return answer
}

async function detailOf (id) {
  const detail = await get(`/api/executions/${id}?page_size=10`)
  if (typeof detail.path === 'string') paths.set(id, detail.path)
  return detail
}

export async function executionStatus (id) {
  if (!ids.test(id)) throw new Error('Execution not found')
  if (!paths.has(id)) await detailOf(id)
  const status = await get(`/api/executions/${id}/status`)
  const word = status.failed ? 'failed' : status.completed ? 'completed' : 'running'
  const detail = ended.has(word) || !('variables' in status) ? await detailOf(id) : {}
  const known = words[String(detail.status ?? word).toLowerCase()] ?? 'running'
  return {
    executionId: id,
    path: detail.path ?? paths.get(id) ?? null,
    status: known,
    completed: ended.has(known),
    failed: known === 'failed',
    cancelled: known === 'cancelled',
    currentStep: status.current_step ?? null,
    completedSteps: status.completed_steps ?? [],
    variables: status.variables ?? detail.variables ?? null,
    result: detail.result ?? null,
    error: detail.error ?? null
  }
}
